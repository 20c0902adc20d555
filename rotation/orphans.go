package rotation

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// revokeOrphans revokes keys with a name of ours that the store does not know.
func (n *run) revokeOrphans(ctx context.Context, s State) error {
	keys, err := n.issuer.Keys(ctx)
	if err != nil {
		return fmt.Errorf("rotation: orphans: %w", err)
	}
	for _, k := range keys {
		if !strings.HasPrefix(k.Name, n.opts.Name+"/") || n.opts.Now().Sub(k.Created) < orphanAge || n.opts.known(s, k) || slices.Contains(n.revoked, k.ID) {
			continue
		}
		err := n.issuer.Revoke(ctx, k.ID)
		n.event(Event{Step: Revoke, Token: k.Name, KeyID: k.ID, Err: err})
		if err != nil {
			return fmt.Errorf("rotation: orphan %s: %w", k.ID, err)
		}
		n.report.Orphans++
	}
	return nil
}

// known reports whether the key is that of a version in the store, or may become it.
// A key with the name of a version that has another one was made by a run that died.
func (o *Options) known(s State, k Key) bool {
	for _, v := range []*Version{s.Current, s.Pending, s.Previous} {
		if v != nil && (v.KeyID == k.ID || v.KeyID == "" && o.keyName(v.Token) == k.Name) {
			return true
		}
	}
	return false
}

// keyName is the name of the key of a version: its token, which another service may
// have given.
func (o *Options) keyName(token string) string {
	if strings.HasPrefix(token, o.Name+"/") {
		return token
	}
	return o.Name + "/" + last(token)
}
