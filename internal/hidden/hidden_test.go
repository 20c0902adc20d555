package hidden_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/hidden"
)

type secret struct{ text string }

func TestPrintersDoNotSeeWhatIsHidden(t *testing.T) {
	s := &secret{"sk-CANARY-1"}
	var p hidden.Pointer[secret]
	p.Store(s)
	holder := &struct {
		value   hidden.Value[secret]
		pointer *hidden.Pointer[secret]
	}{hidden.Of(*s), &p}
	if holder.value() != *s || holder.pointer.Load() != s {
		t.Error("what was hidden does not come back")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{holder, *holder, holder.pointer} {
			if strings.Contains(fmt.Sprintf(verb, v), "CANARY") {
				t.Errorf("%s of a %T shows it", verb, v)
			}
		}
	}
}

func TestAHiddenValueIsReadWithoutAnAllocation(t *testing.T) {
	v := hidden.Of(&secret{})
	if n := testing.AllocsPerRun(100, func() { _ = v() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
