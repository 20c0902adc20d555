package azurekeyvault_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/azurekeyvault"
)

// A rotator by a timer, which an event of Event Grid may start earlier. The issuer of
// this example is one in memory; package rotation/azureopenai has one for Azure OpenAI.
func Example() {
	store, err := azurekeyvault.New("https://myvault.vault.azure.net", "openai-key", &azurekeyvault.Options{
		ProviderAddress:    "/subscriptions/S/resourceGroups/G/providers/Microsoft.CognitiveServices/accounts/A",
		ValidityPeriodDays: 60,
	})
	if err != nil {
		log.Fatal(err)
	}
	rotator, err := rotation.New(rotationtest.NewService(), store, nil)
	if err != nil {
		log.Fatal(err)
	}
	run := func(ctx context.Context) error {
		_, err := rotator.Run(ctx)
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/events", store.Events(run)) // and run(ctx) once an hour
	fmt.Println("ready")
	// Output: ready
}
