package awsauth_test

import (
	"fmt"
	"log"

	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/credential/hashivault/awsauth"
)

func Example() {
	auth, err := awsauth.New("openai-reader", &awsauth.Options{ServerID: "vault.example.com"})
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
