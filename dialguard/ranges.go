package dialguard

import (
	"fmt"
	"net/netip"
)

// A special range is one that a wide prefix must not admit by accident.
type special struct {
	prefix netip.Prefix
	name   string
	// never is for what no prefix admits. The others are admitted by a prefix
	// that lies inside the range.
	never bool
}

// specials returns the special ranges; the first that holds an address counts.
//
// https://www.iana.org/assignments/iana-ipv4-special-registry
// https://www.iana.org/assignments/iana-ipv6-special-registry
// https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
func specials() []special {
	const metadata = "an address of a cloud's metadata service"
	list := make([]special, 0, 40)
	add := func(name string, never bool, prefixes ...string) {
		for _, p := range prefixes {
			list = append(list, special{netip.MustParsePrefix(p), name, never})
		}
	}
	add("Azure's wire server", true, "168.63.129.16/32")
	add(metadata, true, "169.254.169.254/32", "100.100.100.200/32", "192.0.0.192/32",
		"fd00:ec2::254/128", "fd00:ec2::23/128", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128")
	add("a link-local address, as those of metadata services", true, "169.254.0.0/16", "fe80::/10", "fec0::/10")
	add("a loopback address", false, "127.0.0.0/8", "::1/128")
	add("an unspecified address", true, "0.0.0.0/8", "::/128")
	add("a multicast address", true, "224.0.0.0/4", "ff00::/8")
	add("a reserved address", true, "192.0.0.0/24", "240.0.0.0/4")
	add("an IPv4 address in an obsolete form of IPv6", true, "::/96")
	add("an IPv4 address in IPv6 (NAT64)", false, "64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")
	add("an IPv4 address in IPv6 (6to4)", false, "2002::/16")
	add("an IPv4 address in IPv6 (Teredo)", false, "2001::/32")
	add("a shared address of a carrier (CGNAT)", false, "100.64.0.0/10")
	add("an address for documentation, tests or relays", false,
		"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15", "192.88.99.0/24", "2001:db8::/32", "3fff::/20", "100::/64")
	return list
}

// private are the ranges of private networks (RFC 1918, RFC 4193).
func private() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fc00::/7"),
	}
}

// A verdict is what is known of an address.
type verdict struct {
	ok     bool
	never  bool
	public bool   // it is neither private nor special
	name   string // of the special range
}

// judge decides on an address that [leaf.Literal] has returned.
func (g *Guard) judge(ip netip.Addr, allowed []netip.Prefix) verdict {
	for _, s := range g.specials {
		if !s.prefix.Contains(ip) {
			continue
		}
		v := verdict{name: s.name, never: s.never}
		if !s.never {
			v.ok = within(ip, allowed, s.prefix.Bits()) && !g.forbidden(embedded(ip, s.prefix))
		}
		return v
	}
	if isatap(ip) {
		return verdict{name: "an IPv4 address in IPv6 (ISATAP)", never: true}
	}
	return verdict{ok: within(ip, allowed, 1), public: !within(ip, private(), 1)}
}

// within reports whether one of the prefixes of at least so many bits holds ip.
func within(ip netip.Addr, prefixes []netip.Prefix, bits int) bool {
	for _, p := range prefixes {
		if p.Bits() >= bits && p.Contains(ip) {
			return true
		}
	}
	return false
}

// forbidden reports whether a translator would lead to a metadata service, to
// the wire server of Azure, or to the translator's own machine. Other addresses that
// are never dialed are not looked for: in 64:ff9b:1::/48 one address has four
// readings, three of which mean nothing.
func (g *Guard) forbidden(inside []netip.Addr) bool {
	for _, v4 := range inside {
		if v4.IsLoopback() || v4.IsLinkLocalUnicast() {
			return true
		}
		for _, s := range g.specials {
			if s.never && s.prefix.IsSingleIP() && s.prefix.Contains(v4) {
				return true
			}
		}
	}
	return false
}

// embedded returns the IPv4 addresses that an address of a range may stand for.
func embedded(ip netip.Addr, within netip.Prefix) []netip.Addr {
	if !ip.Is6() {
		return nil
	}
	b := ip.As16()
	at := func(i, j, k, l int) netip.Addr { return netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]}) }
	switch within.Bits() {
	case 96:
		return []netip.Addr{at(12, 13, 14, 15)}
	case 48: // RFC 6052, section 2.2: by the length of the translator's prefix
		return []netip.Addr{at(6, 7, 9, 10), at(7, 9, 10, 11), at(9, 10, 11, 12), at(12, 13, 14, 15)}
	case 16:
		return []netip.Addr{at(2, 3, 4, 5)}
	case 32: // Teredo: the server, and the client with its bits inverted
		return []netip.Addr{at(4, 5, 6, 7), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	}
	return nil
}

// isatap reports whether the address is one of RFC 5214, below any prefix.
func isatap(ip netip.Addr) bool {
	if !ip.Is6() {
		return false
	}
	b := ip.As16()
	return b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

// checkPrefix refuses a prefix that admits nothing, or everything.
func (g *Guard) checkPrefix(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return fmt.Errorf("the zero netip.Prefix is none; want for example %s", private()[0])
	case p.Addr().Is4In6():
		return fmt.Errorf("%s is IPv4 in IPv6; write it as IPv4", p)
	case p.Bits() == 0:
		return fmt.Errorf("%s admits every address; name the networks that are meant", p)
	case p != p.Masked():
		return fmt.Errorf("%s has bits behind its length; want %s, or %s", p, p.Masked(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
	}
	for _, s := range g.specials {
		if s.prefix.Bits() > p.Bits() || !s.prefix.Contains(p.Addr()) {
			continue
		}
		if s.never {
			return fmt.Errorf("%s is %s, which is never dialed", p, s.name)
		}
		return nil
	}
	return nil
}
