// The floor: any program that makes an HTTPS request.
package main

import (
	"net/http"
	"os"
)

func main() {
	resp, err := http.Get("https://api.openai.com/v1/models")
	if err != nil {
		os.Exit(1)
	}
	_ = resp.Body.Close()
}
