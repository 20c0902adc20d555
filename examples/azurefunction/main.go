// Azurefunction is an Azure Function, as a custom handler, that calls Azure
// OpenAI by its managed identity: there is no key anywhere.
//
// It has two functions: "ask" answers HTTP requests, "summarize" takes texts
// from a queue and puts summaries into another. The host of Azure Functions
// starts it and passes invocations on; README.md tells how to deploy all of it
// with the network closed.
//
// It reads AZURE_OPENAI_ENDPOINT, AZURE_OPENAI_DEPLOYMENT, and, behind API
// Management, SUBSCRIPTION_KEY_SECRET: the URL of the secret in Key Vault that
// holds the subscription key.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The host passes lines of stdout on to Application Insights.
	logger := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	if err := run(ctx, logger); err != nil {
		logger.Error("the handler ends", "error", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

func run(ctx context.Context, logger *slog.Logger) error {
	model := os.Getenv("AZURE_OPENAI_DEPLOYMENT")
	if os.Getenv("AZURE_OPENAI_ENDPOINT") == "" || model == "" {
		return errors.New("AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_DEPLOYMENT have to be set")
	}
	c, err := newClient(logger)
	if err != nil {
		return err
	}
	// The token and the connection are there before the first invocation.
	go func() {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := c.Warm(ctx); err != nil {
			logger.Warn("not warm; the first call will try again", "error", err)
		}
	}()
	return serve(ctx, &handler{ask: asker(c, model), logger: logger})
}

func newClient(logger *slog.Logger) (*client.Client, error) {
	src, err := azureidentity.New(nil)
	if err != nil {
		return nil, err
	}
	cfg := client.Config{Source: src, Logger: logger, Cache: &credential.CacheOptions{OnEvent: logEvent(logger)}}
	if secret := os.Getenv("SUBSCRIPTION_KEY_SECRET"); secret != "" {
		if cfg.SubscriptionKey, err = azurekeyvault.New(secret, "", nil); err != nil {
			return nil, err
		}
	}
	return client.New(cfg)
}

// logEvent logs what happens to a credential. The alarms of infra/alarms.bicep look
// for these messages.
func logEvent(logger *slog.Logger) func(credential.Event) {
	return func(e credential.Event) {
		level := slog.LevelInfo
		attrs := []slog.Attr{slog.String("source", e.Source), slog.String("version", e.Version)}
		if e.Err != nil {
			level = slog.LevelWarn
			attrs = append(attrs, slog.String("error", e.Err.Error()))
		}
		if !e.Expires.IsZero() {
			attrs = append(attrs, slog.Time("expires", e.Expires))
		}
		logger.LogAttrs(context.Background(), level, "credential "+string(e.Kind), attrs...)
	}
}

func serve(ctx context.Context, h *handler) error {
	port := os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT")
	if port == "" {
		return errors.New("FUNCTIONS_CUSTOMHANDLER_PORT is unset: start it with func start")
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return fmt.Errorf("listen for the host: %w", err)
	}
	server := &http.Server{Handler: h.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		// Invocations under way may end.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx) // what has not ended by then ends now
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
