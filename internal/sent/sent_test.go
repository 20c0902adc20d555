package sent_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/sent"
)

func TestWhatWentOutIsTakenOutOfWhatComesBack(t *testing.T) {
	ctx, c := sent.With(t.Context())
	if sent.From(ctx) != c || sent.From(t.Context()) != nil {
		t.Error("the call is not found in its context, or in another")
	}
	if !c.Empty() || c.Redact("CANARY-key-1", false) != "CANARY-key-1" {
		t.Error("something was known before it was added")
	}
	var wg sync.WaitGroup
	for i := range 8 { // sends of one call may overlap
		wg.Go(func() {
			sent.From(ctx).Add(credential.NewSecret(fmt.Sprint("CANARY-key-", i%2)), credential.Secret{})
			_ = c.Redact("CANARY-key-1", false)
		})
	}
	wg.Wait()
	if got := c.Redact("(CANARY-key-0) (CANARY-key-1) (CANARY-key-2)", false); c.Empty() || got != "([redacted]) ([redacted]) (CANARY-key-2)" {
		t.Error("a credential is left, or more was taken out")
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", c, c, ctx), "CANARY") {
		t.Error("a printer shows a credential")
	}
	none := (*sent.Credentials)(nil)
	if none.Add(credential.NewSecret("CANARY-key-1")); !none.Empty() || none.Redact("x", false) != "x" {
		t.Error("nil remembers something")
	}
}
