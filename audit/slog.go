package audit

import (
	"context"
	"io"
	"log/slog"
)

// Slog returns a writer for [Options.Writer] that gives each line to logger, as the
// attribute "line" of a record with the message "audit" and the level
// [slog.LevelInfo]. Services that collect logs, such as CloudWatch Logs and
// Application Insights, keep it as it is; what they give back of the attribute is
// what [Verify] reads, a line each.
func Slog(logger *slog.Logger) io.Writer {
	return &slogWriter{log: func(text string) error {
		logger.LogAttrs(context.Background(), slog.LevelInfo, "audit", slog.String("line", text))
		return nil
	}}
}

type slogWriter struct {
	log func(text string) error // hides the logger
}

// Write logs a line.
func (w *slogWriter) Write(b []byte) (int, error) { return len(b), w.log(string(trimEnd(b))) }
