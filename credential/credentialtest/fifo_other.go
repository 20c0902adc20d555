//go:build !unix

package credentialtest

import "errors"

func mkfifo(string) error { return errors.ErrUnsupported }
