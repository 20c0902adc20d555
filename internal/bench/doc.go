// Package bench compares latchkey with what a program would use instead of it:
// the official OpenAI SDK, go-openai, x/oauth2, go-retryablehttp, the AWS
// SDK's credential cache, and lines written by hand. See README.md.
package bench
