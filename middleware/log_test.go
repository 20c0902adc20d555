package middleware_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"testing"
)

func jsonLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }

func logLines(t testing.TB, out *bytes.Buffer) (lines []map[string]any) {
	t.Helper()
	for dec := json.NewDecoder(out); ; {
		var line map[string]any
		if err := dec.Decode(&line); err == io.EOF {
			return lines
		} else if err != nil {
			t.Fatal("a record is not JSON")
		}
		lines = append(lines, line)
	}
}

var _ http.RoundTripper = tripFunc(nil)
