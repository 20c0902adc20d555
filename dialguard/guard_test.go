package dialguard_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/dialguard"
)

func guard(t *testing.T, networks ...string) *dialguard.Guard {
	t.Helper()
	g, err := dialguard.New(&dialguard.Options{Prefixes: prefixes(networks...)})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func address(ip string) string { return net.JoinHostPort(ip, "443") }

func TestPrivateAddressesAloneAreAdmittedByDefault(t *testing.T) {
	g := guard(t)
	for _, ip := range []string{
		"10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "fc00::1", "fd12:3456::1", "fdff:ffff::1",
		"::ffff:10.0.0.1", "fd12::1%eth0",
	} {
		if err := g.Control(t.Context(), "tcp", address(ip), nil); err != nil {
			t.Errorf("%s: %v", ip, err)
		}
	}
	for _, ip := range append(elsewhere(), "::ffff:20.1.2.3", "::ffff:169.254.169.254", "fe80::1%eth0", "64:ff9b::a9fe:a9fe", "::ffff:0:10.0.0.1") {
		if err := g.Control(t.Context(), "tcp", address(ip), nil); !errors.Is(err, dialguard.ErrRefused) {
			t.Errorf("%s: %v", ip, err)
		}
	}
}

func TestAWidePrefixDoesNotAdmitSpecialRanges(t *testing.T) {
	// All of IPv4 and IPv6, in halves.
	g := guard(t, "0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1")
	for _, ip := range []string{
		"127.0.0.1", "0.0.0.0", "169.254.169.254", "168.63.129.16", "100.64.0.1", "100.100.100.200", "224.0.0.1", "255.255.255.255",
		"192.0.0.192", "::1", "::", "fe80::1", "ff02::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "64:ff9b::1401:203",
		"64:ff9b:1::1401:203", "2002:1401:203::1", "2001:0:1401:203::1", "::10.0.0.1", "::ffff:0:10.0.0.1", "fd00::200:5efe:a00:1",
	} {
		if err := g.Control(t.Context(), "tcp", address(ip), nil); !errors.Is(err, dialguard.ErrRefused) {
			t.Errorf("%s: %v", ip, err)
		}
	}
	for _, ip := range []string{"20.1.2.3", "10.0.0.1", "2603:1030::1", "fd00::1"} {
		if err := g.Control(t.Context(), "tcp", address(ip), nil); err != nil {
			t.Errorf("%s: %v", ip, err)
		}
	}
}

func TestAPrefixInsideOfASpecialRangeAdmitsIt(t *testing.T) {
	for network, addresses := range map[string]struct{ in, out string }{
		"127.0.0.1/32":       {"127.0.0.1", "127.0.0.2"},
		"::1/128":            {"::1", "::2"},
		"100.64.0.0/10":      {"100.64.0.1", "100.100.100.200"},
		"64:ff9b::/96":       {"64:ff9b::1401:203", "64:ff9b::a9fe:a9fe"},
		"64:ff9b:1::/48":     {"64:ff9b:1::a00:1", "64:ff9b:1::a9fe:a9fe"},
		"64:ff9b:1:a00::/56": {"64:ff9b:1:a00:0:100::", "64:ff9b:1:a9fe:a9:fe00::"}, // RFC 6052: 48 bits before the address
		"2002::/16":          {"2002:1401:203::1", "2002:a9fe:a9fe::1"},
		"2001::/32":          {"2001:0:1401:203::f5ff:fffe", "2001:0:1401:203::5601:5601"}, // a client at 169.254.169.254
		"203.0.113.0/24":     {"203.0.113.1", "203.0.114.1"},
		"20.1.0.0/16":        {"20.1.2.3", "10.0.0.1"},
		"168.63.128.0/17":    {"168.63.128.1", "168.63.129.16"},
	} {
		g := guard(t, network)
		if err := g.Control(t.Context(), "tcp", address(addresses.in), nil); err != nil {
			t.Errorf("%s, %s: %v", network, addresses.in, err)
		}
		if err := g.Control(t.Context(), "tcp", address(addresses.out), nil); !errors.Is(err, dialguard.ErrRefused) {
			t.Errorf("%s, %s: %v", network, addresses.out, err)
		}
	}
	// A translator whose own machine would be dialed.
	if err := guard(t, "64:ff9b::/96").Control(t.Context(), "tcp", address("64:ff9b::7f00:1"), nil); !errors.Is(err, dialguard.ErrRefused) {
		t.Errorf("loopback behind NAT64: %v", err)
	}
}

func TestNoTranslatorLeadsToMetadata(t *testing.T) {
	// Metadata services of two clouds, and the wire server of Azure.
	for _, ip := range []string{"64:ff9b::a9fe:a9fe", "64:ff9b::6464:64c8", "64:ff9b::a83f:8110", "2002:a83f:8110::1", "2002:6464:64c8::1"} {
		if err := guard(t, "64:ff9b::/96", "2002::/16").Control(t.Context(), "tcp", address(ip), nil); !errors.Is(err, dialguard.ErrRefused) {
			t.Errorf("%s: %v", ip, err)
		}
	}
}

func TestWhatIsNoIPAddressIsRefused(t *testing.T) {
	g := guard(t)
	for _, row := range [][2]string{
		{"unix", "/var/run/docker.sock"}, {"unixgram", "@abstract"}, {"ip4:icmp", "10.0.0.1"}, {"tcp", "name.internal:443"}, {"tcp", "10.0.0.1"}, {"tcp", ""},
		{"unix", "10.0.0.1:443"},
	} {
		if err := g.Control(t.Context(), row[0], row[1], nil); !errors.Is(err, dialguard.ErrRefused) {
			t.Errorf("%v: %v", row, err)
		} else if strings.HasPrefix(row[0], "tcp") && !strings.Contains(err.Error(), "not an IP address with a port") {
			t.Errorf("%v: %v, which does not say what it is", row, err)
		}
	}
	d := net.Dialer{ControlContext: g.Control}
	if _, err := d.DialContext(t.Context(), "unix", t.TempDir()+"/s"); !errors.Is(err, dialguard.ErrRefused) {
		t.Errorf("a dialer of one's own: %v", err)
	}
}

func TestAGuardOfNonsenseIsAnError(t *testing.T) {
	zero, mapped := netip.Prefix{}, netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104)
	bad := []netip.Prefix{zero, mapped}
	bad = append(bad, prefixes("0.0.0.0/0", "::/0", "10.0.0.5/8", "fd00::1/64", "169.254.0.0/16", "169.254.169.254/32", "168.63.129.16/32",
		"fe80::/64", "224.0.0.0/8", "0.0.0.0/8", "ff02::/16", "fd00:ec2::254/128", "100.100.100.200/32")...)
	for _, p := range bad {
		if g, err := dialguard.New(&dialguard.Options{Prefixes: []netip.Prefix{p}}); err == nil || g != nil || !strings.Contains(err.Error(), "Prefixes[0]") {
			t.Errorf("Prefixes %v: %v, %v", p, g, err)
		}
		if g, err := dialguard.New(&dialguard.Options{Proxies: []netip.Prefix{p}}); err == nil || g != nil || !strings.Contains(err.Error(), "Proxies[0]") {
			t.Errorf("Proxies %v: %v, %v", p, g, err)
		}
	}
}

func TestAZeroGuardAdmitsNothing(t *testing.T) {
	var g dialguard.Guard
	if err := g.Control(context.Background(), "tcp", "10.0.0.1:443", nil); !errors.Is(err, dialguard.ErrRefused) {
		t.Error(err)
	}
	for _, g := range []*dialguard.Guard{nil, {}} {
		if transport, err := g.Transport(nil); err == nil || transport != nil {
			t.Errorf("a transport of a zero Guard: %v", err)
		}
		if got := g.String(); got != "dialguard(nothing)" {
			t.Error(got)
		}
	}
}

// What the caller does with its slice later is not the Guard's matter.
func TestAGuardKeepsItsOwnPrefixes(t *testing.T) {
	list := prefixes("10.1.0.0/16")
	g, err := dialguard.New(&dialguard.Options{Prefixes: list})
	if err != nil {
		t.Fatal(err)
	}
	list[0] = netip.MustParsePrefix("20.0.0.0/8")
	if err := g.Control(t.Context(), "tcp", "20.1.2.3:443", nil); !errors.Is(err, dialguard.ErrRefused) {
		t.Error(err)
	}
}

func TestAPublicAddressOfAPrivateNameNamesTheZone(t *testing.T) {
	d, w := newDNS(t), newWire()
	hosts := map[string]string{
		"res.openai.azure.com":            "the private DNS zone privatelink.openai.azure.com is not linked to this network",
		"RES.openai.azure.com":            "the private DNS zone privatelink.openai.azure.com is not linked to this network",
		"res.openai.azure.us":             "the private DNS zone privatelink.openai.azure.us is not linked to this network",
		"res.cognitiveservices.azure.com": "the private DNS zone privatelink.cognitiveservices.azure.com is not linked to this network",
		"res.services.ai.azure.com":       "the private DNS zone privatelink.services.ai.azure.com is not linked to this network",
		"res.vault.azure.net":             "the private DNS zone privatelink.vaultcore.azure.net is not linked to this network",
		"res.vault.usgovcloudapi.net":     "the private DNS zone privatelink.vaultcore.usgovcloudapi.net is not linked to this network",
		"res.secretsmanager.test":         "it has no private endpoint, or the private DNS zone of that is not linked to this network",
	}
	d.name("res", always("20.1.2.3"))
	for host, want := range hosts {
		_, err := get(t, guarded(t, dialguard.Options{}, nil, d, w), "https://"+host+"/")
		if !errors.Is(err, dialguard.ErrRefused) || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), host+" resolves to the public address 20.1.2.3") {
			t.Errorf("%s: %v", host, err)
		}
	}
	d.name("res", always("169.254.169.254"))
	_, err := get(t, guarded(t, dialguard.Options{}, nil, d, w), "https://res.openai.azure.com/")
	if err == nil || strings.Contains(err.Error(), "zone") || !strings.Contains(err.Error(), "metadata service") {
		t.Errorf("a name of a metadata service: %v", err)
	}
	_, err = get(t, guarded(t, dialguard.Options{}, nil, d, w), "https://20.1.2.3/")
	if err == nil || !strings.Contains(err.Error(), "20.1.2.3 is not a private address") {
		t.Errorf("an address: %v", err)
	}
	_, err = get(t, guarded(t, dialguard.Options{Prefixes: prefixes("10.1.0.0/16")}, nil, d, w), "https://10.2.0.1/")
	if err == nil || !strings.Contains(err.Error(), "10.2.0.1 is not in Options.Prefixes (10.1.0.0/16)") {
		t.Errorf("outside of the prefixes: %v", err)
	}
}
