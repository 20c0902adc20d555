package azureauth_test

import (
	"fmt"
	"log"

	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/credential/hashivault/azureauth"
)

func Example() {
	auth, err := azureauth.New("openai-reader", nil) // the identity of the function or machine
	if err != nil {
		log.Fatal(err)
	}
	src, err := hashivault.New("secret/openai", &hashivault.Options{Auth: auth, Field: "key"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(src)
	// Output: hashivault:secret/openai
}
