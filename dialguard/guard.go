// Package dialguard keeps an HTTP client's connections inside private networks.
//
// A check of a name before it is dialed proves nothing, because the next look-up
// may have another answer. A [Guard] checks each address at the last moment,
// when a socket is about to be connected to it. It decides about every address
// of a name separately: if only some are admitted, only they are tried.
//
// Give the Guard to a client:
//
//	guard, err := dialguard.New(nil) // private addresses only
//	c, err := client.New(client.Config{Source: src, Dial: guard})
//
// Give its transport to a store:
//
//	transport, err := guard.Transport(nil)
//	src, err := azurekeyvault.New(url, name, &azurekeyvault.Options{Credential: identity, Transport: transport})
//
// Identity endpoints are not in private networks: Microsoft Entra ID is public,
// and metadata services are at link-local addresses, which a Guard never admits.
// Authenticate with a client of its own, without the Guard, as identity does above.
package dialguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/latchkey-go/latchkey/internal/azurename"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

const (
	dialTimeout = 30 * time.Second
	prefix      = "dialguard: "
)

// ErrRefused is wrapped by the error of each connection that a [Guard] refuses.
// Nothing was sent to the address, not even the beginning of a handshake.
var ErrRefused = errors.New("dialguard: refused")

// Options configure a [Guard]. Nil is the same as the zero value.
type Options struct {
	// Prefixes are the networks that may be dialed. Empty is the private ones:
	// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 and fc00::/7.
	//
	// Loopback and CGNAT addresses, and those that NAT64, 6to4 and Teredo
	// translate to IPv4, are admitted only by a prefix inside their own range:
	// 127.0.0.1/32 admits this machine, 64:ff9b::/96 all of IPv4 behind a NAT64.
	// No prefix admits link-local, multicast, unspecified or reserved addresses,
	// those of metadata services, or 168.63.129.16, and New refuses one that
	// holds nothing else.
	Prefixes []netip.Prefix
	// Proxies are the networks of the proxies that may be used. Empty refuses
	// each request for which the transport has a proxy: a proxy connects to
	// wherever it likes.
	//
	// A proxy that is used is checked against Proxies instead of Prefixes. It
	// looks the target's name up itself, so restricting where it connects to is
	// its own task. Targets that are IP addresses are checked against Prefixes
	// here as well.
	Proxies []netip.Prefix
	// Dialer makes the connections; its Resolver, timeouts and local address are
	// used, and its ControlContext or Control is called for what is admitted. It
	// is copied. Nil is a Dialer with a timeout of 30 seconds.
	Dialer *net.Dialer
}

// A Guard decides which addresses are dialed. It is immutable and safe for
// concurrent use. The zero Guard refuses everything; make one with [New].
type Guard struct {
	prefixes, proxies []netip.Prefix
	private           bool // prefixes are the private ones
	specials          []special
	dialer            net.Dialer
}

// New returns a Guard. It fails for a prefix that is malformed, that holds every
// address, or that holds only addresses which are never admitted.
func New(opts *Options) (*Guard, error) {
	if opts == nil {
		opts = &Options{}
	}
	g := &Guard{
		prefixes: slices.Clone(opts.Prefixes), proxies: slices.Clone(opts.Proxies), specials: specials(),
		dialer: net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout},
	}
	if opts.Dialer != nil {
		g.dialer = *opts.Dialer
	}
	for i, p := range opts.Prefixes {
		if err := g.checkPrefix(p); err != nil {
			return nil, fmt.Errorf(prefix+"Prefixes[%d]: %w", i, err)
		}
	}
	for i, p := range opts.Proxies {
		if err := g.checkPrefix(p); err != nil {
			return nil, fmt.Errorf(prefix+"Proxies[%d]: %w", i, err)
		}
	}
	if len(g.prefixes) == 0 {
		g.prefixes, g.private = private(), true
	}
	return g, nil
}

// String tells what is admitted.
func (g *Guard) String() string {
	switch {
	case g == nil || len(g.prefixes) == 0:
		return "dialguard(nothing)"
	case g.private:
		return "dialguard(private addresses)"
	}
	return "dialguard(" + join(g.prefixes) + ")"
}

// Control is a ControlContext for a [net.Dialer] of your own, of a client that is
// not HTTP for example. It refuses what is outside of Options.Prefixes, and what
// is neither TCP nor UDP: Unix sockets too. The error wraps [ErrRefused].
func (g *Guard) Control(_ context.Context, network, address string, _ syscall.RawConn) error {
	return g.check(network, address, "", false)
}

// check decides on a literal address. host is the name that it was found by, or
// empty.
func (g *Guard) check(network, address, host string, proxy bool) error {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	default:
		return refuse("a connection by "+network+" does not go to an IP address", "use an address with TCP")
	}
	ip, ok := leaf.Literal(address)
	if !ok {
		return refuse("the address to dial is not an IP address with a port", "use a dialer that looks names up before it calls ControlContext")
	}
	allowed := g.prefixes
	if proxy {
		allowed = g.proxies
	}
	v := g.judge(ip, allowed)
	if v.ok {
		return nil
	}
	if proxy {
		return refuse(fmt.Sprintf("the proxy %s is not in Options.Proxies (%s)", at(host, ip), join(allowed)), "add its network to Options.Proxies")
	}
	return g.outside(ip, host, v)
}

// outside tells why an address is not dialed.
func (g *Guard) outside(ip netip.Addr, host string, v verdict) error {
	where, zone := at(host, ip), zoneOf(host)
	switch {
	case v.never:
		return refuse(where+" is "+v.name+", which is never dialed", "identity endpoints need a client of their own, without the guard")
	case v.name != "":
		return refuse(where+" is "+v.name, "if it is meant, list its network in Options.Prefixes, by a prefix inside of that range")
	case v.public && named(host) && zone != "":
		return refuse(fmt.Sprintf("%s resolves to the public address %s: the private DNS zone %s is not linked to this network, or has no record for the name", host, ip, zone),
			"link the zone, or let the DNS server of this network forward to one that has it")
	case v.public && named(host) && g.private:
		return refuse(fmt.Sprintf("%s resolves to the public address %s: it has no private endpoint, or the private DNS zone of that is not linked to this network", host, ip),
			"link the zone, or let the DNS server of this network forward to one that has it")
	case g.private:
		return refuse(where+" is not a private address", "list its network in Options.Prefixes, if it is meant")
	}
	return refuse(fmt.Sprintf("%s is not in Options.Prefixes (%s)", where, join(g.prefixes)), "list its network there, if it is meant")
}

// zoneOf returns the private DNS zone of a host of Azure; empty for others.
func zoneOf(host string) string {
	host = strings.TrimSuffix(host, ".")
	if c, ok := azurename.OfVault(host); ok {
		return c.VaultZone
	}
	if _, ok := azurename.OfInference(host); ok {
		return azurename.Zone(host)
	}
	return ""
}

func refuse(what, hint string) error { return leaf.Refuse(ErrRefused, prefix+what, hint) }

// at is how an error names an address that was found by a name.
func at(host string, ip netip.Addr) string {
	if named(host) {
		return ip.String() + ", to which " + host + " resolves,"
	}
	return ip.String()
}

// named reports whether the host is a name, and not an address.
func named(host string) bool {
	_, err := netip.ParseAddr(host)
	return host != "" && err != nil
}

// join lists prefixes for an error: not more than a few.
func join(prefixes []netip.Prefix) string {
	const most = 8
	var b strings.Builder
	for i, p := range prefixes {
		switch {
		case i == most:
			return b.String() + fmt.Sprintf(" and %d more", len(prefixes)-most)
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(p.String())
	}
	return b.String()
}
