package peertest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// jail is a folder that a server takes for the whole file system (chroot). Some servers have the paths of their
// configuration, queue and users built in: in a jail those can be what a test wants, and the machine's own stay
// untouched. Only root can make one.
type jail struct {
	t   testing.TB
	dir string
}

// newJail makes a jail with programs in it, and the libraries that they need. Programs are named by their path, and
// taken from the unpacked packages first, else from the machine.
func newJail(t testing.TB, name string, programs ...string) *jail {
	t.Helper()
	root := Root(t)
	if os.Geteuid() != 0 {
		Missing(t, "POSTERN_PEERS", ErrNotRoot.Error())
	}
	dir, err := os.MkdirTemp("", name)
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	j := &jail{t: t, dir: dir}
	must(t, os.Chmod(dir, 0o755))
	j.folder("/tmp", 0o1777, 0)
	j.folder("/var", 0o755, 0)
	j.folder("/run", 0o755, 0)
	must(t, os.Symlink("/run", j.path("/var/run")))
	for _, dev := range []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"} {
		j.device(dev)
	}
	have := map[string]bool{}
	for _, p := range programs {
		src := filepath.Join(root, p)
		if !executable(src) {
			src = p
		}
		if !executable(src) {
			Missing(t, "POSTERN_PEERS", "no program "+p)
		}
		j.copy(src, p)
		for _, lib := range libraries(t, root, src) {
			to := filepath.Join("/lib", filepath.Base(lib))
			if strings.Contains(filepath.Base(lib), "ld-linux") {
				to = lib // the loader's path is in the program
			}
			if !have[to] {
				have[to] = true
				j.copy(lib, to)
			}
		}
	}
	j.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
	j.write("/etc/hosts", "127.0.0.1 localhost\n")
	return j
}

// libraries gives the shared libraries that a program needs, as the loader finds them.
func libraries(t testing.TB, root, program string) (all []string) {
	t.Helper()
	cmd := exec.Command("ldd", program)
	cmd.Env = append(os.Environ(), environment(root)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ldd %s: %v", program, err)
	}
	for line := range strings.Lines(string(out)) {
		for _, word := range strings.Fields(line) {
			if strings.HasPrefix(word, "/") {
				all = append(all, word)
			}
		}
		if strings.Contains(line, "not found") {
			Missing(t, "POSTERN_PEERS", program+" lacks a library: "+strings.TrimSpace(line))
		}
	}
	return all
}

// path gives the path outside of one inside.
func (j *jail) path(inside string) string { return filepath.Join(j.dir, inside) }

// folder makes a folder, and gives it to a user.
func (j *jail) folder(path string, mode os.FileMode, uid int) {
	j.t.Helper()
	must(j.t, os.MkdirAll(j.path(path), 0o755), os.Chown(j.path(path), uid, uid))
	if mode&0o1000 != 0 {
		mode = mode&0o777 | os.ModeSticky
	}
	must(j.t, os.Chmod(j.path(path), mode))
}

func (j *jail) write(path, text string) {
	j.t.Helper()
	must(j.t, os.MkdirAll(filepath.Dir(j.path(path)), 0o755), os.WriteFile(j.path(path), []byte(text), 0o644))
}

// copy puts a file of the machine into the jail, readable and executable by all.
func (j *jail) copy(from, to string) {
	j.t.Helper()
	src, err := os.Open(from)
	must(j.t, err)
	defer src.Close()
	must(j.t, os.MkdirAll(filepath.Dir(j.path(to)), 0o755))
	dst, err := os.OpenFile(j.path(to), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	must(j.t, err)
	_, err = io.Copy(dst, src)
	must(j.t, err, dst.Close())
}

func (j *jail) device(path string) {
	j.t.Helper()
	var st syscall.Stat_t
	must(j.t, syscall.Stat(path, &st), os.MkdirAll(filepath.Dir(j.path(path)), 0o755))
	if err := syscall.Mknod(j.path(path), st.Mode, int(st.Rdev)); err != nil {
		Missing(j.t, "POSTERN_PEERS", fmt.Sprintf("no devices can be made here: %v", err))
	}
	must(j.t, os.Chmod(j.path(path), 0o666))
}

// users writes the jail's users, each with a group of the same name and number.
func (j *jail) users(ids map[string]int) {
	j.t.Helper()
	passwd, group := "root:x:0:0::/root:/bin/sh\n", "root:x:0:\nmail:x:12:\n"
	for name, id := range ids {
		passwd += fmt.Sprintf("%s:x:%d:%d::/:/bin/false\n", name, id, id)
		group += fmt.Sprintf("%s:x:%d:\n", name, id)
	}
	j.write("/etc/passwd", passwd)
	j.write("/etc/group", group)
}

// command makes a command that runs in the jail.
func (j *jail) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Path, cmd.Err, cmd.Dir = name, nil, "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/bin", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: j.dir, Setpgid: true}
	return cmd
}

// start runs a command in the jail until the test ends, and gives what it says.
func (j *jail) start(name string, args ...string) (said func() string) {
	j.t.Helper()
	out, err := os.Create(filepath.Join(j.dir, "said"))
	must(j.t, err)
	defer out.Close()
	cmd := j.command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	must(j.t, cmd.Start())
	said = func() string {
		b, _ := os.ReadFile(out.Name())
		return string(b)
	}
	j.t.Cleanup(func() {
		stop(cmd, syscall.SIGTERM)
		if j.t.Failed() {
			j.t.Logf("%s said:\n%s", filepath.Base(name), tail(said()))
		}
	})
	return said
}
