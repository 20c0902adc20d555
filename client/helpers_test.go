package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
)

const key = "sk-CANARY-good-0001"

type tripFunc func(*http.Request) (*http.Response, error)

func (f tripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func answer(req *http.Request, status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

func static() credential.Source {
	return credential.Static(credential.NewSecret(key), credential.APIKey)
}

// counted is a source that counts its reads.
type counted struct {
	reads atomic.Int64
	v     credential.Value
}

func (c *counted) Retrieve(context.Context) (credential.Value, error) {
	c.reads.Add(1)
	return c.v, nil
}

func clearEnv(t testing.TB) {
	for _, name := range []string{"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID",
		"OPENAI_API_VERSION", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"} {
		t.Setenv(name, "")
	}
}

// inMemory returns a client of https://api.example.com/v1/.
func inMemory(t testing.TB, cfg client.Config, base tripFunc) *client.Client {
	t.Helper()
	if cfg.Source == nil {
		cfg.Source = static()
	}
	if cfg.BaseURL == "" {
		cfg.BaseURL = "https://api.example.com/v1/"
	}
	cfg.Transport = base
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
