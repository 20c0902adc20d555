//go:build unix

package execcommand

import (
	"os"
	"os/exec"
	"syscall"
)

// isolate puts the command into a process group of its own, which is killed
// when its time is over: a script would leave its children behind, and they
// would hold the output open.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		// As long as the leader has not been waited for, its number is nobody
		// else's.
		if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
			return os.ErrProcessDone
		}
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}
