package app

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// readHidden reads a line from a terminal that does not show it. Whoever interrupts it has his terminal back as it was.
func readHidden(f *os.File) (string, error) {
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", err
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	hidden.Lflag |= unix.ICANON | unix.ISIG
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupted)
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return "", err
	}
	type typed struct {
		line string
		err  error
	}
	done := make(chan typed, 1)
	go func() { // left behind by an interrupt only, after which the program ends
		line, err := firstLine(f)
		done <- typed{line, err}
	}()
	var t typed
	select {
	case t = <-done:
	case <-interrupted:
		t.err = exit(ExitData, "user: interrupted")
	}
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, before); err != nil && t.err == nil {
		t.err = err
	}
	return t.line, t.err
}
