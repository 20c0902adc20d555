// Azure rotates the key of an Azure OpenAI resource and keeps it in Key Vault, as an
// Azure Function with a custom handler.
//
// The function "rotate" runs every hour by a timer and does what is due. "nearexpiry"
// does the same sooner, when Event Grid says that the secret expires soon, and "events"
// takes the same events by HTTP, for a subscription of webhooks. README.md tells how to
// deploy it.
//
// It reads VAULT_URL and SECRET_NAME, the secret that readers have, OPENAI_RESOURCE_ID,
// the id of the resource, and ROTATE_EVERY, for how long a key is current, 720h if it is
// unset.
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

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/azurekeyvault"
	"github.com/latchkey-go/latchkey/rotation/azureopenai"
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
	store, rotator, err := newRotator(logger)
	if err != nil {
		return err
	}
	rotate := func(ctx context.Context) error {
		_, err := rotator.Run(ctx)
		return err
	}
	return serve(ctx, newHandler(rotate, store.Events(rotate), logger))
}

// warning is how long before its end Key Vault announces that a secret expires.
const warning = 30 * 24 * time.Hour

func newRotator(logger *slog.Logger) (*azurekeyvault.Store, *rotation.Rotator, error) {
	every := 30 * 24 * time.Hour
	if text := os.Getenv("ROTATE_EVERY"); text != "" {
		var err error
		if every, err = time.ParseDuration(text); err != nil {
			return nil, nil, fmt.Errorf("ROTATE_EVERY: %w", err)
		}
	}
	resource, err := arm.ParseResourceID(os.Getenv("OPENAI_RESOURCE_ID"))
	if err != nil {
		return nil, nil, fmt.Errorf("OPENAI_RESOURCE_ID: %w", err)
	}
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, nil, err
	}
	issuer, err := azureopenai.New(cred, &azureopenai.Options{
		Subscription: resource.SubscriptionID, ResourceGroup: resource.ResourceGroupName, Account: resource.Name,
	})
	if err != nil {
		return nil, nil, err
	}
	// The event comes when the key is due.
	store, err := azurekeyvault.New(os.Getenv("VAULT_URL"), os.Getenv("SECRET_NAME"), &azurekeyvault.Options{
		Credential: cred, ProviderAddress: resource.String(), ValidityPeriodDays: int((every + warning) / (24 * time.Hour)),
	})
	if err != nil {
		return nil, nil, err
	}
	rotator, err := rotation.New(issuer, store, &rotation.Options{Every: every, OnEvent: logEvent(logger)})
	return store, rotator, err
}

// logEvent logs steps and the ends of runs. The alarms of infra/main.bicep look for
// these messages.
func logEvent(logger *slog.Logger) func(rotation.Event) {
	return func(e rotation.Event) {
		attrs := []slog.Attr{slog.String("step", string(e.Step)), slog.String("version", e.Token), slog.String("key", e.KeyID)}
		if e.Report != nil {
			attrs = append(attrs, slog.Time("next", e.Report.Next), slog.Int("orphans", e.Report.Orphans), slog.String("unrevoked", e.Report.Unrevoked))
		}
		level, message := slog.LevelInfo, "rotation step"
		switch {
		case errors.Is(e.Err, rotation.ErrConflict):
			message = "rotation elsewhere" // another rotator is at work
		case e.Err != nil:
			level, message = slog.LevelError, "rotation failed"
			attrs = append(attrs, slog.String("error", e.Err.Error()))
		case e.Report != nil:
			message = "rotation run"
		}
		logger.LogAttrs(context.Background(), level, message, attrs...)
	}
}

func serve(ctx context.Context, handler http.Handler) error {
	port := os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT")
	if port == "" {
		return errors.New("FUNCTIONS_CUSTOMHANDLER_PORT is unset: start it with func start")
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return fmt.Errorf("listen for the host: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		// A run may end; one that does not is gone on with by the next one.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
