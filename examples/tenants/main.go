// Tenants is a small web service in which each customer brings a key of their
// own. One client serves them all; a call gets the key of the customer that it
// is for, and of nobody else.
//
//	export CUSTOMERS="acme=their-password globex=another-one"
//	go run ./examples/tenants -keys ./keys
//
//	curl -u acme:their-password -X PUT -d sk-... localhost:8080/key
//	curl -u acme:their-password -d "What is a latchkey?" localhost:8080/ask
//
// The keys lie in files, one for each customer. A real service would keep them
// in a store: return a Source of it from the function open.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
)

const (
	maxKey      = 16 << 10
	maxQuestion = 64 << 10
	askTimeout  = time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	addr := flag.String("addr", "localhost:8080", "where to listen")
	keys := flag.String("keys", "keys", "the directory with the customers' keys")
	flag.Parse()
	if err := run(ctx, *addr, *keys, os.Getenv("CUSTOMERS")); err != nil {
		fmt.Fprintln(os.Stderr, "tenants:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

func run(ctx context.Context, addr, keys, customers string) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	s, err := newService(keys, customers, client.Config{}, logger)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: addr, Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Shutdown(context.Background()) })()
	fmt.Println("listening on", addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// A service answers its customers' questions with their own keys.
type service struct {
	keys      string              // a directory
	passwords map[string][32]byte // of the customers: SHA-256
	tenants   *credential.Tenants
	client    *client.Client
}

// newService returns a service. The source of cfg is its own.
func newService(keys, customers string, cfg client.Config, logger *slog.Logger) (*service, error) {
	s := &service{keys: keys, passwords: map[string][32]byte{}}
	for _, pair := range strings.Fields(customers) {
		name, password, ok := strings.Cut(pair, "=")
		if !ok || password == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
			return nil, errors.New("CUSTOMERS: want pairs such as acme=password, whose names can be those of files")
		}
		s.passwords[name] = sha256.Sum256([]byte(password))
	}
	if len(s.passwords) == 0 {
		return nil, errors.New("CUSTOMERS is empty: name at least one, such as acme=password")
	}
	var err error
	s.tenants, err = credential.NewTenants(s.open, &credential.TenantsOptions{
		Cache: credential.CacheOptions{OnEvent: func(e credential.Event) {
			logger.Info("credential "+string(e.Kind), "tenant", e.Tenant, "source", e.Source, "version", e.Version, "err", e.Err)
		}},
	})
	if err != nil {
		return nil, err
	}
	cfg.Source = s.tenants
	s.client, err = client.New(cfg)
	return s, err
}

// open returns where the customer's key is.
func (s *service) open(_ context.Context, customer string) (credential.Source, error) {
	return credential.File(s.path(customer)), nil
}

func (s *service) path(customer string) string { return filepath.Join(s.keys, customer+".key") }

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /key", s.authenticated(s.putKey))
	mux.HandleFunc("POST /ask", s.authenticated(s.ask))
	return mux
}

// authenticated calls next with a context of the customer whose password came.
// It is the one place that says whose credential a request gets.
func (s *service) authenticated(next func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		customer, password, _ := r.BasicAuth()
		want, known := s.passwords[customer]
		got := sha256.Sum256([]byte(password))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !known {
			w.Header().Set("WWW-Authenticate", "Basic")
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next(w, r.WithContext(credential.WithTenant(r.Context(), customer)), customer)
	}
}

// putKey keeps the customer's key, in place of the one before.
func (s *service) putKey(w http.ResponseWriter, r *http.Request, customer string) {
	key, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxKey))
	if err == nil {
		_, err = credential.Static(credential.NewSecret(string(key)), credential.APIKey).Retrieve(r.Context())
	}
	if wrong := (*credential.SourceError)(nil); errors.As(err, &wrong) { // its text never quotes the key
		http.Error(w, "this cannot be a key: "+wrong.Err.Error(), http.StatusBadRequest)
		return
	}
	if err == nil {
		err = replaceFile(s.path(customer), key)
	}
	if err != nil {
		http.Error(w, "the key could not be kept", http.StatusInternalServerError)
		return
	}
	s.tenants.Forget(customer) // or it would be looked for only when the one before is refused
	w.WriteHeader(http.StatusNoContent)
}

// ask passes the question on, with the customer's own key.
func (s *service) ask(w http.ResponseWriter, r *http.Request, _ string) {
	question, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
	if err != nil {
		http.Error(w, "the question is too long", http.StatusRequestEntityTooLarge)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
	}
	_, err = s.client.Post(ctx, "chat/completions", map[string]any{
		"model": "gpt-5-mini", "messages": []map[string]string{{"role": "user", "content": string(question)}},
	}, &answer)
	refusal := (*client.Error)(nil)
	switch {
	case errors.Is(err, credential.ErrUnavailable):
		http.Error(w, "bring a key first: PUT /key", http.StatusConflict)
	case errors.As(err, &refusal) && refusal.StatusCode == http.StatusUnauthorized:
		http.Error(w, "your key is refused: PUT /key another one", http.StatusConflict)
	case err != nil || len(answer.Choices) == 0:
		http.Error(w, "no answer", http.StatusBadGateway)
	default:
		_, _ = io.WriteString(w, answer.Choices[0].Message.Content)
	}
}

// replaceFile writes a file that a reader sees either before or after.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // readable by nobody else
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the renaming, and that is well
	if _, err := f.Write(data); err != nil {
		_ = f.Close() // the write has failed
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
