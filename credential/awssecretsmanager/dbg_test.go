package awssecretsmanager
import ("testing";"strings";"net/http/httptest";"fmt"
"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
"github.com/aws/aws-sdk-go-v2/aws"
"github.com/latchkey-go/latchkey/internal/awstest")
func TestDbg(t *testing.T){
 for range 200 {
 sm := awstest.NewSecretsManager(); sv := httptest.NewServer(sm)
 for k,v := range sm.Identity.Env("eu-west-1") { t.Setenv(k,v) }
 t.Setenv("AWS_MAX_ATTEMPTS","1"); t.Setenv("AWS_ENDPOINT_URL", sv.URL)
 sm.Fail(awstest.Fault{Status:200, Body:`{"SecretString":"` + strings.Repeat("CANARY", 1<<18) + `"}`})
 st := newStore("a","",nil)
 a,_ := st.load(t.Context())
 _,err := a.get(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("a")})
 for e := err; e != nil; { fmt.Printf(" > %T", e); if strings.Contains(fmt.Sprintf("%T", e), "DeserializationError") { fmt.Printf(" %.200s", e) } ; u, ok := e.(interface{Unwrap() error}); if !ok {break}; e = u.Unwrap() }
 fmt.Println()
 sv.Close()
 }
}
