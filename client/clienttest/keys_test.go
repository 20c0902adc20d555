package clienttest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/client/clienttest"
)

// status asks with the key in the header of the flavor OpenAI.
func status(t *testing.T, svc *clienttest.Service, key string) int {
	t.Helper()
	return mustSend(t, svc, newRequest(t, "GET", base+"/v1/models", "", "Authorization: Bearer "+key)).status
}

func TestKeysAreAcceptedUntilRevoked(t *testing.T) {
	svc := clienttest.NewService(key1)
	for _, step := range []struct {
		name   string
		do     func()
		first  int
		second int
	}{
		{"at first", func() {}, 200, 401},
		{"overlap", func() { svc.Accept(key2) }, 200, 200},
		{"end of the overlap", func() { svc.Revoke(key1) }, 401, 200},
		{"hard rotation", func() { svc.Rotate(key1) }, 200, 401},
		{"to no key", func() { svc.Rotate("") }, 401, 401},
	} {
		step.do()
		if a, b := status(t, svc, key1), status(t, svc, key2); a != step.first || b != step.second {
			t.Errorf("%s: %d and %d, want %d and %d", step.name, a, b, step.first, step.second)
		}
	}
	if got := svc.Stats(); got.Requests != 10 || got.Unauthorized != 5 || got.OK != 5 {
		t.Errorf("%+v", got)
	}
}

func TestAnEmptyKeyIsNeverAccepted(t *testing.T) {
	svc := clienttest.NewService("")
	svc.Rotate("")
	for _, h := range []string{"X: y", "Authorization: Bearer ", "Authorization: Bearer", "Authorization: Basic " + key1} {
		if a := mustSend(t, svc, newRequest(t, "GET", base+"/v1/models", "", h)); a.status != 401 || !strings.Contains(a.body, "You didn't provide an API key") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	var zero clienttest.Service
	if got := status(t, &zero, key1); got != 401 {
		t.Errorf("zero Service: %d", got)
	}
}

func TestEachFlavorReadsItsHeaderAndRefusesInItsWords(t *testing.T) {
	const bad = "sk-CANARY-bad"
	for _, c := range []struct {
		name   string
		flavor clienttest.Flavor
		header string
		status int
		want   string
	}{
		{"openai", clienttest.OpenAI, "authorization: bearer " + key1, 200, ""},
		{"openai wrong", clienttest.OpenAI, "Authorization: Bearer " + bad, 401, `"code":"invalid_api_key"`},
		{"openai by api-key", clienttest.OpenAI, "api-key: " + key1, 401, "You didn't provide an API key"},
		{"azure key", clienttest.AzureOpenAI, "api-key: " + key1, 200, ""},
		{"azure token", clienttest.AzureOpenAI, "Authorization: Bearer " + key1, 200, ""},
		{"azure wrong key", clienttest.AzureOpenAI, "api-key: " + bad, 401, "Access denied due to invalid subscription key or wrong API endpoint."},
		{"azure wrong token", clienttest.AzureOpenAI, "Authorization: Bearer " + bad, 401, "Access token is missing, invalid, audience is incorrect"},
		{"azure none", clienttest.AzureOpenAI, "X: y", 401, "Access token is missing, invalid"},
		{"apim", clienttest.APIM, "Ocp-Apim-Subscription-Key: " + key1, 200, ""},
		{"apim wrong", clienttest.APIM, "Ocp-Apim-Subscription-Key: " + bad, 401, "due to invalid subscription key"},
		{"apim none", clienttest.APIM, "Authorization: Bearer " + key1, 401, "due to missing subscription key"},
	} {
		svc := clienttest.NewService(key1)
		svc.SetFlavor(c.flavor)
		a := mustSend(t, svc, newRequest(t, "GET", base+"/v1/models", "", c.header))
		if a.status != c.status || !strings.Contains(a.body, c.want) || strings.Contains(a.body, bad) {
			t.Errorf("%s: %d, and not the words of the service, or a whole key", c.name, a.status)
		}
		if challenged := a.header.Get("Www-Authenticate") != ""; challenged != (c.flavor == clienttest.APIM && a.status == 401) {
			t.Errorf("%s: challenge is %t", c.name, challenged)
		}
	}
}

func TestARefusedKeyIsMasked(t *testing.T) {
	for _, c := range []struct{ key, shown string }{
		{"sk-proj-CANARY-000000GDYA", "sk-proj-***GDYA"},
		{"sk-CANARY-000000000GDYA", "sk-***GDYA"},
		{"CANARY-000000000000GDYA", "CAN***GDYA"},
		{"sk-CANARY-short", "***"},
	} {
		a := mustSend(t, clienttest.NewService(), newRequest(t, "GET", base+"/v1/models", "", "Authorization: Bearer "+c.key))
		if !strings.Contains(a.body, `"Incorrect API key provided: `+c.shown+`. You`) || strings.Contains(a.body, "CANARY") {
			t.Errorf("a key of %d bytes is not shown as %s", len(c.key), c.shown)
		}
	}
}

func TestAHardRotationHoldsFromItsReturn(t *testing.T) {
	svc := clienttest.NewService(key1, "sk-CANARY-0")
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := make(chan struct{})
	defer close(stop)
	for range 4 { // traffic and other writers beside the rotations
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					status(t, svc, key1)
					svc.Revoke("sk-CANARY-none")
				}
			}
		})
	}
	for i := range 300 {
		old, next := fmt.Sprintf("sk-CANARY-%d", i), fmt.Sprintf("sk-CANARY-%d", i+1)
		svc.Rotate(next)
		if a, b := status(t, svc, old), status(t, svc, next); a != 401 || b != 200 {
			t.Errorf("rotation %d: old %d, new %d", i, a, b)
			return
		}
	}
}

func TestAKeyInUseIsNotRefusedWhileOthersChange(t *testing.T) {
	svc := clienttest.NewService(key1)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			other := fmt.Sprintf("sk-CANARY-w%d", w)
			for range 200 {
				svc.Accept(other)
				if status(t, svc, key1) != 200 || status(t, svc, other) != 200 {
					t.Error("an accepted key was refused")
				}
				svc.Revoke(other)
				if status(t, svc, other) != 401 {
					t.Error("a revoked key was accepted")
				}
			}
		})
	}
	wg.Wait()
	if got := svc.Stats(); got.Requests != 2400 || got.OK != 1600 || got.Unauthorized != 800 {
		t.Errorf("%+v", got)
	}
}

func TestCallsInParallelGetTheirOwnAnswers(t *testing.T) {
	svc := clienttest.NewService(key1)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				text := fmt.Sprintf("%d/%d", w, i)
				a := mustSend(t, svc, newRequest(t, "POST", base+chatPath, `{"model":"m","messages":[{"role":"user","content":"`+text+`"}]}`, "Authorization: Bearer "+key1))
				var got struct {
					Choices []struct{ Message struct{ Content string } }
				}
				if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Choices[0].Message.Content != "echo: "+text {
					t.Errorf("%s: %v in %s", text, err, a.body)
				}
			}
		})
	}
	wg.Wait()
}

func TestTheJournalHoldsNoCredential(t *testing.T) {
	svc := clienttest.NewService(key1)
	svc.SetFlavor(clienttest.AzureOpenAI)
	send := func() {
		req := newRequest(t, "POST", base+"/openai/v1/x?api-version=7&leak="+key2, "body "+key1+" and "+key2,
			"api-key: "+key1, "Authorization: Bearer "+key2, "Cookie: s=CANARY", "X-Leak: "+key1+"!", "X-Plain: kept")
		mustSend(t, svc, req)
	}
	send()
	if n := len(svc.Requests()); n != 0 {
		t.Errorf("%d requests recorded by default", n)
	}
	svc.SetJournal(true)
	send()
	svc.SetJournal(false)
	send()
	list := svc.Requests()
	if len(list) != 1 {
		t.Fatalf("%d requests", len(list))
	}
	r := list[0]
	if strings.Contains(fmt.Sprintf("%+v %s", r, r.Body), "CANARY") {
		t.Error("a credential is in the journal")
	}
	const gone = "[redacted]"
	if r.Method != "POST" || r.Host != "api.openai.com" || r.Path != "/openai/v1/x" || r.Query.Get("api-version") != "7" ||
		r.Query.Get("leak") != gone || r.Header.Get("Api-Key") != gone || r.Header.Get("X-Leak") != gone+"!" ||
		r.Header.Get("X-Plain") != "kept" || string(r.Body) != "body "+gone+" and "+gone || !r.KeyAccepted {
		t.Error("the rest of the request is not as it was sent")
	}
	r.Header.Set("X-Plain", "changed")
	if svc.Requests()[0].Header.Get("X-Plain") != "kept" {
		t.Error("a caller can change the journal")
	}
	if svc.SetJournal(true); len(svc.Requests()) != 0 {
		t.Error("a new journal is not empty")
	}
}
