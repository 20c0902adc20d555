package hashivault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/document"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

// handoff is how long the standby takes its field from the document that the
// primary has just read. The Cache asks one right after the other.
const handoff = 2 * time.Second

// An engine is how the path is read.
type engine struct {
	path   string // in the API, without /v1/
	v2     bool
	leases bool // each read may create a credential
}

// A doc is a secret as it was read. It lives behind the closure of the Source.
type doc struct {
	fields  json.RawMessage // an object
	version string
	expires time.Time
	refresh time.Time
	tag     string // what Options.ExpiryTag is set to in the metadata
}

// A core is the Source behind its closure.
type core struct {
	path    string
	opts    *Options
	session *session
	standby *standby
	leasing leaf.Group[*doc]

	mu      sync.Mutex // guards what follows; never held during I/O
	engine  *engine
	lease   *lease
	last    *doc // for the standby
	lastErr error
	began   time.Time // when the read of last did
	lastAt  time.Time // and when it ended
	closed  bool
}

func (c *core) name() string { return sourceName + ":" + c.path }

func (c *core) op() string { return fmt.Sprintf("read %q", c.path) }

func (c *core) retrieve(ctx context.Context, r *credential.Rejection) (credential.Value, error) {
	if ctx.Err() != nil {
		return credential.Value{}, failed(ctx, c.op(), ctx.Err(), "")
	}
	began := c.session.now()
	d, err := c.document(ctx, r)
	c.mu.Lock()
	if now := c.session.now(); !c.closed && (!began.Before(c.began) || c.began.After(now)) {
		c.last, c.lastErr, c.began, c.lastAt = d, err, began, now
	}
	c.mu.Unlock()
	if err != nil {
		return credential.Value{}, err
	}
	v, err := c.value(d, c.opts.Field, c.name())
	if err == nil && d.tag != "" && c.opts.Version == "" {
		v.Expires, err = c.ends(d)
	}
	if err != nil {
		return credential.Value{}, err
	}
	return v, nil
}

// ends is when the key ends, by the metadata; zero if that is past.
func (c *core) ends(d *doc) (time.Time, error) {
	at, err := leaf.ParseExpiry(d.tag)
	switch {
	case err != nil:
		return time.Time{}, &credential.SourceError{Source: sourceName, Op: c.op(),
			Err:  fmt.Errorf("the custom metadata %q does not say when the key ends: %w", c.opts.ExpiryTag, err),
			Hint: fmt.Sprintf("vault kv metadata patch -custom-metadata=%s=2027-01-31 %s", c.opts.ExpiryTag, c.path)}
	case !at.After(c.session.now()):
		return time.Time{}, nil
	}
	return at, nil
}

func (c *core) retrieveStandby(ctx context.Context) (credential.Value, error) {
	if ctx.Err() != nil {
		return credential.Value{}, failed(ctx, c.op(), ctx.Err(), "")
	}
	c.mu.Lock()
	d, err := c.last, c.lastErr
	age := c.session.now().Sub(c.lastAt)
	c.mu.Unlock()
	if d == nil && err == nil || age < 0 || age > handoff {
		d, err = c.document(ctx, nil)
	}
	if err != nil {
		return credential.Value{}, err
	}
	return c.value(d, c.opts.StandbyField, c.name()+"#standby")
}

func (c *core) value(d *doc, field, source string) (credential.Value, error) {
	text, err := pick(d.fields, field)
	if err != nil {
		return credential.Value{}, &credential.SourceError{Source: sourceName, Op: c.op(), Err: err, Hint: "name the field that holds the key"}
	}
	return credential.Value{
		Secret: credential.NewSecret(text), Scheme: c.opts.Scheme, Source: source,
		Version: d.version, Expires: d.expires, RefreshAfter: d.refresh, Fixed: c.opts.Version != "",
	}, nil
}

// pick returns the field, or the only one.
func pick(fields json.RawMessage, field string) (string, error) {
	if field == "" {
		var all map[string]json.RawMessage
		if err := json.Unmarshal(fields, &all); err != nil {
			return "", errors.New("the secret is not a JSON object")
		}
		if len(all) != 1 {
			return "", fmt.Errorf("the secret has %d fields, and none is named", len(all))
		}
		for field = range all {
			field = "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(field)
		}
		text, err := document.Field(string(fields), field)
		if err != nil && !errors.Is(err, credential.ErrNotFound) {
			return "", errors.New("the only field of the secret is empty or not a string")
		}
		return text, err
	}
	return document.Field(string(fields), field)
}

// document reads the secret, or has it from the lease.
func (c *core) document(ctx context.Context, r *credential.Rejection) (*doc, error) {
	leases := false
	d, err := c.attempt(ctx, func(conn *conn, tok *token) (*doc, error) {
		e, err := c.locate(ctx, conn, tok)
		if err != nil {
			return nil, err
		}
		if leases = e.leases; leases {
			return nil, nil
		}
		return c.read(ctx, conn, tok, e, r != nil)
	})
	if leases && err == nil {
		return c.leased(ctx, r)
	}
	return d, err
}

// attempt reads with a token that is alive, and logs in again, once, if Vault
// refuses it.
func (c *core) attempt(ctx context.Context, read func(*conn, *token) (*doc, error)) (*doc, error) {
	var bad *token
	for {
		conn, tok, err := c.session.acquire(ctx, bad)
		if errors.Is(err, errForbidden) {
			return nil, c.forbidden(ctx)
		}
		if err != nil {
			return nil, err
		}
		d, err := read(conn, tok)
		switch {
		case err == nil:
			return d, nil
		case refused(err) != http.StatusForbidden:
			return nil, failed(ctx, c.op(), err, "check the path, as in: vault kv get "+c.path)
		case bad != nil:
			return nil, c.forbidden(ctx)
		}
		bad = tok
	}
}

func (c *core) forbidden(ctx context.Context) error {
	c.mu.Lock()
	e := c.engine
	c.mu.Unlock()
	refusal := &refusal{http.StatusForbidden, reasonDenied}
	if e == nil {
		return failed(ctx, c.op(), refusal, fmt.Sprintf(`the token has no right below the mount of %q: give it "read" there in a policy, or check the mount and the namespace`, c.path))
	}
	return failed(ctx, c.op(), refusal, fmt.Sprintf(`the token lacks "read" on %q: add to its policy: path %q { capabilities = ["read"] }`, e.path, e.path))
}

func (c *core) read(ctx context.Context, conn *conn, tok *token, e *engine, fresh bool) (*doc, error) {
	reply, err := conn.do(ctx, c.readCall(e, tok, fresh))
	if refused(err) == http.StatusNotFound {
		c.forget(e)
		return nil, c.missing(reply, e)
	}
	if err != nil {
		return nil, err
	}
	return c.parse(reply, e)
}

// forget has the engine asked for again: it may be mounted anew, as another
// version.
func (c *core) forget(e *engine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.engine == e {
		c.engine = nil
	}
}

func (c *core) readCall(e *engine, tok *token, fresh bool) call {
	out := call{path: e.path, token: tok.text.Reveal(), index: tok.index, fresh: fresh}
	if e.v2 && c.opts.Version != "" {
		out.params = url.Values{"version": {c.opts.Version}}
	}
	return out
}

// locate finds out, once, how the path is read: at the endpoint that the
// vault command uses for it, which asks for no right but one below the mount.
func (c *core) locate(ctx context.Context, conn *conn, tok *token) (*engine, error) {
	c.mu.Lock()
	e := c.engine
	c.mu.Unlock()
	if e != nil {
		return e, nil
	}
	e, err := c.ask(ctx, conn, tok)
	if err != nil {
		return nil, err
	}
	if c.opts.Version != "" && !e.v2 {
		return nil, final("Options.Version is set, but the engine is not KV version 2")
	}
	if c.opts.ExpiryTag != "" && !e.v2 {
		return nil, final("Options.ExpiryTag is set, but the engine is not KV version 2, which has metadata")
	}
	c.mu.Lock()
	c.engine = e
	c.mu.Unlock()
	return e, nil
}

func (c *core) ask(ctx context.Context, conn *conn, tok *token) (*engine, error) {
	if c.opts.KVVersion > 0 {
		mount := c.opts.Mount
		if mount == "" {
			mount, _, _ = strings.Cut(c.path, "/")
		}
		return newEngine(c.path, mount, c.opts.KVVersion == 2, false), nil
	}
	reply, err := conn.do(ctx, call{path: "sys/internal/ui/mounts/" + c.path, token: tok.text.Reveal(), index: tok.index})
	if refused(err) == http.StatusNotFound {
		return newEngine(c.path, "", false, false), nil // Vault before 0.10.2 knows KV v1 only
	}
	if err != nil {
		return nil, err
	}
	var about struct {
		Path    string            `json:"path"`
		Type    string            `json:"type"`
		Options map[string]string `json:"options"`
	}
	if json.Unmarshal(reply.Data, &about) != nil || about.Path == "" {
		return nil, errGarbled
	}
	kv := about.Type == "kv" || about.Type == "generic" || about.Type == "cubbyhole"
	e := newEngine(c.path, about.Path, kv && about.Options["version"] == "2", !kv)
	if e.path == "" {
		return nil, final("the path is a mount, not a secret")
	}
	return e, nil
}

// newEngine puts data/ behind the mount, for KV v2. The mount that Vault names
// may begin with a namespace that the path does not have.
func newEngine(path, mount string, v2, leases bool) *engine {
	e := &engine{path: path, v2: v2, leases: leases}
	if !v2 {
		return e
	}
	mount = strings.Trim(mount, "/")
	for mount != "" && mount != path && !strings.HasPrefix(path, mount+"/") {
		_, mount, _ = strings.Cut(mount, "/")
	}
	rest := strings.Trim(strings.TrimPrefix(path, mount), "/")
	if e.path = ""; rest != "" {
		e.path = strings.TrimPrefix(mount+"/data/"+rest, "/")
	}
	return e
}

// A kvData is what KV v2 has in data, and in data.metadata.
type kvData struct {
	Data     json.RawMessage `json:"data"`
	Metadata struct {
		Version      json.Number `json:"version"`
		DeletionTime string      `json:"deletion_time"`
		Destroyed    bool        `json:"destroyed"`
		Custom       any         `json:"custom_metadata"`
	} `json:"metadata"`
}

// missing says why there is nothing: Vault answers 404 with the metadata of a
// version that was deleted.
func (c *core) missing(r *reply, e *engine) error {
	what := "there is no such secret"
	var kv kvData
	if r != nil && e.v2 && json.Unmarshal(r.Data, &kv) == nil {
		version := "the latest version"
		if n, err := kv.Metadata.Version.Int64(); err == nil {
			version = fmt.Sprintf("version %d", n)
		}
		if at, err := time.Parse(time.RFC3339Nano, kv.Metadata.DeletionTime); err == nil {
			what = fmt.Sprintf("%s was deleted at %s", version, at.UTC().Format(time.RFC3339))
		}
		if kv.Metadata.Destroyed {
			what = version + " was destroyed"
		}
	}
	err := &plain{credential.ErrNotFound.Error() + ": " + what, credential.ErrNotFound}
	if e.v2 && strings.Contains(e.path, "/data/data/") {
		return &credential.SourceError{Source: sourceName, Op: c.op(), Err: err, Hint: `leave "data/" out: the path is the one of vault kv get`}
	}
	if strings.Contains(what, "deleted") {
		return &credential.SourceError{Source: sourceName, Op: c.op(), Err: err, Hint: "vault kv undelete brings it back, vault kv put writes the next"}
	}
	return err
}

func (c *core) parse(r *reply, e *engine) (*doc, error) {
	d := &doc{fields: r.Data}
	if e.v2 {
		var kv kvData
		if json.Unmarshal(r.Data, &kv) != nil {
			return nil, errGarbled
		}
		d.fields = kv.Data
		if n, err := kv.Metadata.Version.Int64(); err == nil {
			d.version = strconv.FormatInt(n, 10)
		}
		if custom, ok := kv.Metadata.Custom.(map[string]any); ok && c.opts.ExpiryTag != "" {
			d.tag, _ = custom[c.opts.ExpiryTag].(string)
		}
	}
	if object := bytes.TrimSpace(d.fields); len(object) == 0 || object[0] != '{' {
		return nil, errGarbled
	}
	// KV v1 keeps a field ttl and gives it as the time after which a reader
	// should look again; it revokes nothing.
	if !e.v2 && r.LeaseDuration > 0 && r.LeaseDuration < int64(365*24*time.Hour/time.Second) {
		d.refresh = c.session.now().Add(time.Duration(r.LeaseDuration) * time.Second)
	}
	return d, nil
}
