package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
	"github.com/latchkey-go/latchkey/rotation"
	vaultstore "github.com/latchkey-go/latchkey/rotation/azurekeyvault"
	"github.com/latchkey-go/latchkey/rotation/azureopenai"
)

func openKeyVault(rest string) (rotation.Store, credential.Source, error) {
	vault, name, ok := strings.Cut(rest, "/secrets/")
	if !ok || strings.Contains(name, "/") {
		return nil, nil, errors.New("want azurekeyvault:https://NAME.vault.azure.net/secrets/NAME")
	}
	s, err := vaultstore.New(vault, name, nil)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // it names itself
	}
	src, err := azurekeyvault.New(vault, name, nil)
	return s, src, err //nolint:wrapcheck // it names itself
}

func openAzure(rest string) (i rotation.Issuer, base string, err error) {
	id, err := arm.ParseResourceID(rest)
	if err != nil {
		return nil, "", errors.New("want azureopenai: and the id of the resource, /subscriptions/.../providers/Microsoft.CognitiveServices/accounts/NAME")
	}
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, "", fmt.Errorf("azureopenai: %w", err)
	}
	i, err = azureopenai.New(cred, &azureopenai.Options{Subscription: id.SubscriptionID, ResourceGroup: id.ResourceGroupName, Account: id.Name})
	return i, "https://" + id.Name + ".openai.azure.com", err //nolint:wrapcheck // it names itself
}
