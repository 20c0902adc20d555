// Rotation rotates a key, shows how a rotation stands, and rehearses it.
//
//	go run ./examples/rotation run -store STORE -issuer ISSUER [-plan] [-now] [-wait] [-audit FILE]
//	go run ./examples/rotation status -store STORE -issuer ISSUER
//	go run ./examples/rotation -rehearse [-embed KIND | -store STORE -issuer ISSUER]
//	go run ./examples/rotation fleet [-n PROCESSES] [-svg FILE]
//	go run ./examples/rotation leak
//
// Run does what is due, once: start it by a timer, every hour. Its exit status is 0
// if all is done, 1 if it failed, 2 if it was called in a wrong way, and 3 if another
// rotator is at work. With -plan it only says what it would do. With -now it replaces a
// key that has leaked, and with -wait it stays until that is revoked.
//
// Status shows what the store and the issuer hold, side by side, without a secret.
//
// Rehearse, alone, rotates a key between an issuer and a directory of its own, kills
// the rotator at each step, makes the issuer fail in many ways, and has 50 readers make
// calls all the while. It exits with status 1 if one of them fails, or a key is lost or
// left over. With -embed secretsmanager the store is a server that speaks as AWS Secrets
// Manager does, in place of the directory. With -store and -issuer it does this to a staging account: it rotates the
// key there for real, many times.
//
// Fleet simulates many processes over one rotation, and leak tells how long it takes
// until a leaked key is replaced.
//
// STORE is one of
//
//	file:///DIRECTORY
//	vault://MOUNT/PATH         VAULT_ADDR, VAULT_TOKEN and the other variables of Vault
//	awssecretsmanager:ARN[#FIELD]
//	azurekeyvault:https://NAME.vault.azure.net/secrets/NAME
//
// and ISSUER one of
//
//	openaiadmin:PROJECT/SERVICE_ACCOUNT[?scopes=SCOPE,...]
//	openaiadmin:organization   the admin key itself
//	azureopenai:/subscriptions/...    the id of the resource
//
// The admin key is in OPENAI_ADMIN_KEY, or in the STORE that OPENAI_ADMIN_KEY_STORE
// names, where it is rotated, too. scopes is api.model.request if it is left out, or
// all.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/latchkey-go/latchkey/rotation"
)

// The exit statuses.
const (
	done    = 0
	failed  = 1
	misused = 2
	busy    = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command runs one of the commands.
func command(ctx context.Context, args []string, out, errs io.Writer) int {
	commands := map[string]func(context.Context, []string, io.Writer, io.Writer) int{
		"run": runCommand, "status": statusCommand, "-rehearse": rehearseCommand, "--rehearse": rehearseCommand,
		"fleet": fleetCommand, "leak": leakCommand, "victim": victimCommand,
	}
	if len(args) > 0 && commands[args[0]] != nil {
		return commands[args[0]](ctx, args[1:], out, errs)
	}
	_, _ = fmt.Fprintln(errs, "usage: rotation run|status|-rehearse|fleet|leak [-store STORE] [-issuer ISSUER] ...; -h after each tells more")
	return misused
}

// A place is where a key is rotated: flags that commands have in common.
type place struct {
	store, issuer string
	opts          rotation.Options
}

func (p *place) flags(flags *flag.FlagSet) {
	flags.StringVar(&p.store, "store", "", "file:///DIRECTORY, vault://MOUNT/PATH, awssecretsmanager:ARN or azurekeyvault:https://NAME.vault.azure.net/secrets/NAME")
	flags.StringVar(&p.issuer, "issuer", "", "openaiadmin:PROJECT/SERVICE_ACCOUNT, openaiadmin:organization or azureopenai:/subscriptions/...")
	flags.StringVar(&p.opts.Name, "name", "latchkey", "the beginning of the names of keys; give each secret of an account its own")
	flags.DurationVar(&p.opts.Every, "every", 30*24*time.Hour, "how long a key is current")
	flags.DurationVar(&p.opts.Overlap, "overlap", 24*time.Hour, "how long the previous key works on at least")
	flags.DurationVar(&p.opts.ReadersTTL, "readers-ttl", 5*time.Minute, "the TTL of the readers' Cache")
}

// parse reads the arguments of a command. It returns false after it has said what is
// wrong with them.
func parse(flags *flag.FlagSet, args []string, errs io.Writer) bool {
	flags.SetOutput(errs)
	if flags.Parse(args) != nil {
		return false
	}
	if flags.NArg() > 0 {
		_, _ = fmt.Fprintf(errs, "rotation: %q is no argument of %s\n", flags.Arg(0), flags.Name())
		return false
	}
	return true
}

// open opens the two ends. Code is what to exit with if that fails.
func (p *place) open(errs io.Writer) (e *ends, code int) {
	if p.store == "" || p.issuer == "" {
		_, _ = fmt.Fprintln(errs, "rotation: -store and -issuer are required; -h tells more")
		return nil, misused
	}
	e, err := openEnds(p.store, p.issuer)
	if err != nil {
		_, _ = fmt.Fprintln(errs, "rotation:", err)
		return nil, misused
	}
	return e, done
}
