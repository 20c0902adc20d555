// Package execcommand gets a key from a helper command: a password manager, a
// company's login tool, a script.
//
//	src, err := execcommand.New("op", []string{"read", "op://dev/openai/key"}, nil)
//	c, err := client.New(client.Config{Source: src})
//
// The page docs/execcommand.md has tested lines for op, doppler, sops, infisical,
// gcloud, aws, vault, pass and the Keychain of macOS.
//
// The command writes to its standard output either the key and nothing else,
// or an ExecCredential as the plugins of kubectl do
// (https://kubernetes.io/docs/reference/config-api/client-authentication.v1/):
//
//	{
//	  "apiVersion": "client.authentication.k8s.io/v1",
//	  "kind": "ExecCredential",
//	  "status": {"token": "...", "expirationTimestamp": "2026-01-02T15:04:05Z"}
//	}
//
// The command is found on PATH or named by an absolute path, never in the
// current directory. There is no shell: the arguments reach it as they are.
// (On Windows the system itself runs .bat and .cmd files through cmd.exe.) Its
// standard input is empty, so that it cannot ask. It has 10 seconds and 64 KiB,
// and is then killed: on Unix with all that it has started in its process
// group.
//
// What it prints is never shown: not its output, which may be the key in a
// form that we do not know, nor its standard error. Errors tell the exit code
// and how much it wrote.
//
// A Source runs the command at each Retrieve. The [credential.Cache] around it
// keeps the result: a key for CacheOptions.TTL, a token until shortly before its
// expirationTimestamp. It also bounds a read, by CacheOptions.Timeout.
package execcommand
