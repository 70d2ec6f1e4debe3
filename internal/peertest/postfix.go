package peertest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Postfix is a running Postfix with a configuration of its own: it takes mail for one domain on a
// loopback port, and stores it, one file a message.
type Postfix struct {
	Addr string // of its SMTP server
	dir  string
}

// PostfixOptions are what tests vary.
type PostfixOptions struct {
	Domain     string // mail for it is stored; example.org if empty
	CertFile   string // with KeyFile: STARTTLS is offered
	KeyFile    string
	RequireTLS bool
}

// StartPostfix starts a Postfix that ends with the test. It needs root, as Postfix's master does.
func StartPostfix(t testing.TB, o PostfixOptions) *Postfix {
	t.Helper()
	root := Root(t)
	if os.Geteuid() != 0 {
		Missing(t, "POSTERN_PEERS", ErrNotRoot.Error())
	}
	if o.Domain == "" {
		o.Domain = "example.org"
	}
	// Postfix's daemons run as another user, who must be able to reach the folder.
	dir, err := os.MkdirTemp("", "postfix")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &Postfix{Addr: FreeAddr(t), dir: dir}
	p.layOut(t)
	p.configure(t, root, o)

	cmd := exec.Command(filepath.Join(root, "usr/lib/postfix/sbin/master"), "-c", filepath.Join(dir, "etc"), "-d")
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "MAIL_CONFIG=" + filepath.Join(dir, "etc")}, environment(root)...)
	// A process group of its own: master ends its children by a signal to the group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("postfix said:\n%s\n%s", out.String(), p.Log())
		}
	})
	if err := await(p.Addr, 15*time.Second); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out.String(), p.Log())
	}
	return p
}

// owner is the user that stands for Debian's postfix user, who does not exist where Postfix is not
// installed; both it and its group are on every Debian.
const owner, setgidGroup = "mail", "games"

func (p *Postfix) layOut(t testing.TB) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	u, err := user.Lookup(owner)
	must(err)
	g, err := user.LookupGroup(setgidGroup)
	must(err)
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(g.Gid)

	must(os.Chmod(p.dir, 0o755))
	for _, d := range []string{"etc", "data", "queue", "queue/pid", "mail"} {
		must(os.Mkdir(filepath.Join(p.dir, d), 0o755))
	}
	for _, d := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"} {
		path := filepath.Join(p.dir, "queue", d)
		must(os.Mkdir(path, 0o700))
		must(os.Chown(path, uid, -1))
	}
	for d, mode := range map[string]os.FileMode{"maildrop": 0o730, "public": 0o710} {
		path := filepath.Join(p.dir, "queue", d)
		must(os.Mkdir(path, mode))
		must(os.Chmod(path, mode))
		must(os.Chown(path, uid, gid))
	}
	for _, d := range []string{"data", "mail"} {
		must(os.Chown(filepath.Join(p.dir, d), uid, -1))
	}
}

func (p *Postfix) configure(t testing.TB, root string, o PostfixOptions) {
	t.Helper()
	u, _ := user.Lookup(owner)
	main := map[string]string{
		"compatibility_level":                 "3.6",
		"queue_directory":                     filepath.Join(p.dir, "queue"),
		"data_directory":                      filepath.Join(p.dir, "data"),
		"command_directory":                   filepath.Join(root, "usr/sbin"),
		"daemon_directory":                    filepath.Join(root, "usr/lib/postfix/sbin"),
		"shlib_directory":                     "no",
		"meta_directory":                      filepath.Join(p.dir, "etc"),
		"mail_owner":                          owner,
		"setgid_group":                        setgidGroup,
		"myhostname":                          "backend.test",
		"inet_interfaces":                     "127.0.0.1",
		"inet_protocols":                      "ipv4",
		"mydestination":                       "",
		"alias_maps":                          "",
		"virtual_mailbox_domains":             o.Domain,
		"virtual_mailbox_maps":                "static:box/",
		"virtual_mailbox_base":                filepath.Join(p.dir, "mail"),
		"virtual_uid_maps":                    "static:" + u.Uid,
		"virtual_gid_maps":                    "static:" + u.Gid,
		"virtual_minimum_uid":                 "1",
		"mynetworks":                          "127.0.0.0/8",
		"smtpd_relay_restrictions":            "reject_unauth_destination",
		"message_size_limit":                  "104857600",
		"virtual_mailbox_limit":               "0",
		"smtpd_client_connection_count_limit": "0",
		"maillog_file":                        filepath.Join(p.dir, "log"),
		"maillog_file_prefixes":               filepath.Dir(p.dir),
		"import_environment":                  "MAIL_CONFIG LD_LIBRARY_PATH",
		"export_environment":                  "LD_LIBRARY_PATH",
	}
	if o.CertFile != "" {
		main["smtpd_tls_cert_file"], main["smtpd_tls_key_file"] = o.CertFile, o.KeyFile
		main["smtpd_tls_security_level"] = "may"
		main["smtpd_tls_received_header"] = "yes"
		if o.RequireTLS {
			main["smtpd_tls_security_level"] = "encrypt"
		}
	}
	var b strings.Builder
	for k, v := range main {
		fmt.Fprintf(&b, "%s = %s\n", k, v)
	}
	host, port, _ := net.SplitHostPort(p.Addr)
	master := fmt.Sprintf("%s:%s inet n - n - - smtpd\n", host, port) + `cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
`
	for name, text := range map[string]string{"main.cf": b.String(), "master.cf": master} {
		if err := os.WriteFile(filepath.Join(p.dir, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Log gives Postfix's log so far.
func (p *Postfix) Log() string {
	b, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return string(b)
}

// Messages waits until at least n messages are stored, for at most twenty seconds, and gives all of them
// with CRLF line ends.
func (p *Postfix) Messages(t testing.TB, n int) [][]byte {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for {
		files, _ := filepath.Glob(filepath.Join(p.dir, "mail", "box", "new", "*"))
		if len(files) >= n {
			var all [][]byte
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
			}
			return all
		}
		if time.Now().After(end) {
			t.Fatalf("postfix stored %d messages, not %d\n%s", len(files), n, p.Log())
		}
		time.Sleep(50 * time.Millisecond)
	}
}
