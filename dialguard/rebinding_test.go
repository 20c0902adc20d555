package dialguard_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/dialguard"
)

// elsewhere are addresses that a guard for private addresses must never dial.
func elsewhere() []string {
	return []string{
		"20.1.2.3", "1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "192.167.255.255", "192.169.0.1", "11.0.0.1", "9.255.255.255",
		"127.0.0.2", "127.255.255.254", "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.170.2", "169.254.0.1", "168.63.129.16",
		"100.64.0.1", "100.127.255.255", "100.100.100.200", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"192.0.0.192", "198.18.0.1", "203.0.113.1", "::1", "::", "::7f00:1", "fe80::1", "fec0::1", "ff02::1",
		"fd00:ec2::254", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::1", "2001:0:a00:1::f5ff:fffe",
		"fd00::5efe:a00:1", "2603:1030::1",
	}
}

// A target is something to dial whose first look-up is harmless.
type target struct {
	kind, bad string
	label     string // of the name; empty: the address itself is dialed
}

// targets are 120, and the DNS server knows their names.
func targets(d *dnsServer, good string) (out []target) {
	for i, bad := range elsewhere() {
		changes, mixed := fmt.Sprintf("changes%d", i), fmt.Sprintf("mixed%d", i)
		d.name(changes, then(good, bad))
		d.name(mixed, always(bad, good))
		out = append(out, target{"address", bad, ""}, target{"name that changes", bad, changes}, target{"name with both", bad, mixed})
	}
	return out
}

func (x target) host() string {
	switch {
	case x.label != "":
		return x.label + ".test"
	case strings.Contains(x.bad, ":"):
		return "[" + x.bad + "]"
	}
	return x.bad
}

// lookUp is the check that comes too early: it sees the harmless address.
func (x target) lookUp(t *testing.T, d *dnsServer, good string) {
	t.Helper()
	if x.label == "" {
		return
	}
	found, err := d.resolver().LookupHost(t.Context(), x.host())
	if err != nil || x.kind == "name that changes" && (len(found) != 1 || found[0] != good) {
		t.Fatalf("look-up before the dial: %v, %v; want %s", found, err, good)
	}
}

func TestANameThatChangesBeforeTheDialConnectsNowhereElse(t *testing.T) {
	const good = "10.1.2.3"
	d, w := newDNS(t), newWire()
	all := targets(d, good)
	if len(all) != 120 {
		t.Fatalf("%d targets", len(all))
	}
	for _, scheme := range []string{"http", "https"} {
		d := newDNS(t)
		c := guarded(t, dialguard.Options{}, &http.Transport{}, d, w)
		for _, x := range targets(d, good) {
			x.lookUp(t, d, good)
			_, err := get(t, c, scheme+"://"+x.host()+":8443/")
			seen := w.take()
			if x.kind == "name with both" {
				if len(seen) != 1 || seen[0].String() != good {
					t.Errorf("%s %s: dialed %v, want the good address alone (%v)", x.kind, x.bad, seen, err)
				}
				continue
			}
			if len(seen) != 0 || !errors.Is(err, dialguard.ErrRefused) {
				t.Errorf("%s %s: dialed %v: %v", x.kind, x.bad, seen, err)
			}
		}
		d.name("stays", always(good))
		if _, err := get(t, c, scheme+"://stays.test:8443/"); !errors.Is(err, errHeld) {
			t.Errorf("a good name: %v", err)
		}
		if seen := w.take(); len(seen) != 1 || seen[0].String() != good {
			t.Errorf("a good name: dialed %v", seen)
		}
	}
}

// Through a proxy the name that changes is the proxy's own, and an address is
// what the proxy is asked for.
func TestAProxyWhoseNameChangesIsNotConnectedTo(t *testing.T) {
	const good = "127.0.0.1"
	p := newProxy(t)
	for mode, address := range map[string]string{"proxy": "http://model.internal/", "CONNECT": "https://model.internal/"} {
		d, w := newDNS(t), newWire()
		for _, x := range targets(d, good) {
			through := "http://" + good + ":" + p.port()
			if x.label != "" {
				through = "http://" + x.host() + ":" + p.port()
			}
			base := p.trusting()
			u, err := url.Parse(through)
			if err != nil {
				t.Fatal(err)
			}
			base.Proxy = http.ProxyURL(u)
			x.lookUp(t, d, good)
			to := address
			if x.label == "" {
				to = strings.Replace(address, "model.internal", x.host(), 1)
			}
			status, err := get(t, guarded(t, dialguard.Options{Proxies: prefixes("127.0.0.1/32")}, base, d, w), to)
			asked, wrong := p.take(), 0
			for _, ip := range w.take() {
				if ip != netip.MustParseAddr(good) {
					wrong++
				}
			}
			switch {
			case wrong > 0:
				t.Errorf("%s, %s %s: %d wrong connects", mode, x.kind, x.bad, wrong)
			case x.kind == "name with both" && (status != http.StatusTeapot || len(asked) != 1):
				t.Errorf("%s, %s %s: status %d, %v", mode, x.kind, x.bad, status, err)
			case x.kind != "name with both" && (!errors.Is(err, dialguard.ErrRefused) || len(asked) > 0):
				t.Errorf("%s, %s %s: the proxy was asked for %q: %v", mode, x.kind, x.bad, asked, err)
			}

			// The same without leave to use a proxy.
			_, err = get(t, guarded(t, dialguard.Options{Prefixes: prefixes("127.0.0.0/8")}, base, d, w), to)
			if seen := w.take(); len(seen) > 0 || !errors.Is(err, dialguard.ErrRefused) {
				t.Errorf("%s without Proxies, %s: dialed %v: %v", mode, x.host(), seen, err)
			}
		}
	}
}
