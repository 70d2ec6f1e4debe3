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
)

// postfix is a Postfix in a folder of its own.
type postfix struct {
	*MTA
	dir  string
	root string
}

// StartPostfix starts a Postfix that ends with the test. It needs root, as Postfix's master does.
func StartPostfix(t testing.TB, o MTAOptions) *MTA {
	t.Helper()
	root := Root(t)
	if os.Geteuid() != 0 {
		Missing(t, "POSTERN_PEERS", ErrNotRoot.Error())
	}
	master := File(t, "usr/lib/postfix/sbin/master")
	o = o.withDefaults()
	// Postfix's daemons run as another user, who must be able to reach the folder.
	dir, err := os.MkdirTemp("", "postfix")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &postfix{MTA: &MTA{Name: "Postfix", Addr: FreeAddr(t), box: filepath.Join(dir, "mail", "box")}, dir: dir, root: root}
	for _, q := range []string{"incoming", "active", "deferred/?"} {
		p.queue = append(p.queue, filepath.Join(dir, "queue", q, "[0-9A-Za-z]*[0-9A-Za-z][0-9A-Za-z][0-9A-Za-z]"))
	}
	p.log = func() string {
		b, _ := os.ReadFile(filepath.Join(dir, "log"))
		return string(b)
	}
	p.layOut(t)
	p.configure(t, o)

	cmd := exec.Command(master, "-c", filepath.Join(dir, "etc"), "-d")
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "MAIL_CONFIG=" + filepath.Join(dir, "etc")}, environment(root)...)
	// A process group of its own: master ends its children by a signal to the group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	t.Cleanup(func() {
		stop(cmd, syscall.SIGTERM)
		if t.Failed() {
			t.Logf("postfix said:\n%s\n%s", out.String(), tail(p.Log()))
		}
	})
	if err := await(p.Addr); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out.String(), p.Log())
	}
	return p.MTA
}

// owner is the user that stands for Debian's postfix user, who does not exist where Postfix is not
// installed; both it and its group are on every Debian.
const owner, setgidGroup = "mail", "games"

func (p *postfix) layOut(t testing.TB) {
	t.Helper()
	u, err := user.Lookup(owner)
	must(t, err)
	g, err := user.LookupGroup(setgidGroup)
	must(t, err)
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(g.Gid)

	must(t, os.Chmod(p.dir, 0o755))
	for _, d := range []string{"etc", "data", "queue", "queue/pid", "mail"} {
		must(t, os.Mkdir(filepath.Join(p.dir, d), 0o755))
	}
	for _, d := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"} {
		path := filepath.Join(p.dir, "queue", d)
		must(t, os.Mkdir(path, 0o700))
		must(t, os.Chown(path, uid, -1))
	}
	for d, mode := range map[string]os.FileMode{"maildrop": 0o730, "public": 0o710} {
		path := filepath.Join(p.dir, "queue", d)
		must(t, os.Mkdir(path, mode))
		must(t, os.Chmod(path, mode))
		must(t, os.Chown(path, uid, gid))
	}
	for _, d := range []string{"data", "mail"} {
		must(t, os.Chown(filepath.Join(p.dir, d), uid, -1))
	}
}

func (p *postfix) configure(t testing.TB, o MTAOptions) {
	t.Helper()
	u, _ := user.Lookup(owner)
	main := map[string]string{
		"compatibility_level":                 "3.6",
		"queue_directory":                     filepath.Join(p.dir, "queue"),
		"data_directory":                      filepath.Join(p.dir, "data"),
		"command_directory":                   filepath.Join(p.root, "usr/sbin"),
		"daemon_directory":                    filepath.Join(p.root, "usr/lib/postfix/sbin"),
		"shlib_directory":                     "no",
		"meta_directory":                      filepath.Join(p.dir, "etc"),
		"mail_owner":                          owner,
		"setgid_group":                        setgidGroup,
		"myhostname":                          hostName(o),
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
		"import_environment":                  "MAIL_CONFIG LD_LIBRARY_PATH SASL_PATH",
		"export_environment":                  "LD_LIBRARY_PATH SASL_PATH",
		"queue_run_delay":                     "1s",
		"minimal_backoff_time":                "1s",
		"maximal_backoff_time":                "2s",
	}
	if o.CertFile != "" {
		main["smtpd_tls_cert_file"], main["smtpd_tls_key_file"] = o.CertFile, o.KeyFile
		main["smtpd_tls_security_level"] = "may"
		main["smtpd_tls_received_header"] = "yes"
		if o.RequireTLS {
			main["smtpd_tls_security_level"] = "encrypt"
		}
	}
	if o.Lenient {
		main["smtpd_forbid_bare_newline"], main["smtpd_forbid_unauth_pipelining"] = "no", "no"
	}
	if o.XForward {
		main["smtpd_authorized_xforward_hosts"] = "127.0.0.0/8"
	}
	if o.XClient {
		main["smtpd_authorized_xclient_hosts"] = "127.0.0.1"
		main["smtpd_client_restrictions"] = "check_client_access inline:{ 127.0.0.8=REJECT }"
		main["smtpd_sasl_auth_enable"] = "yes" // LOGIN is known then
	}
	if len(o.Mailboxes) > 0 {
		var boxes strings.Builder
		for _, m := range o.Mailboxes {
			fmt.Fprintf(&boxes, " {%s@%s = box/}", m, o.Domain)
		}
		main["virtual_mailbox_maps"] = "inline:{" + boxes.String() + " }"
	}
	if o.Proxy {
		main["smtpd_upstream_proxy_protocol"] = "haproxy"
		main["smtpd_client_restrictions"] = "check_client_access inline:{ 127.0.0.8=REJECT }"
	}
	if len(o.Paths) > 0 {
		main["smtpd_relay_restrictions"] = "permit_mynetworks, reject"
		main["transport_maps"], main["smtp_sasl_password_maps"] = postfixTransports(o.Paths)
		main["smtp_sasl_security_options"] = "noanonymous"
		main["relay_domains"] = strings.Join(domains(o.Paths), " ")
	}
	var b strings.Builder
	for k, v := range main {
		fmt.Fprintf(&b, "%s = %s\n", k, v)
	}
	host, port, _ := net.SplitHostPort(p.Addr)
	master := fmt.Sprintf("%s:%s inet n - n - - smtpd\n", host, port) + postfixServices
	for name, text := range map[string]string{"main.cf": b.String(), "master.cf": master} {
		must(t, os.WriteFile(filepath.Join(p.dir, "etc", name), []byte(text), 0o644))
	}
}

func postfixTransports(paths []Path) (transports, passwords string) {
	for _, p := range paths {
		host, port, _ := net.SplitHostPort(p.Addr)
		service := p.TLS
		if p.User != "" {
			service += "-auth"
			passwords += fmt.Sprintf(" {[%s]:%s = %s:%s}", host, port, p.User, p.Password)
		}
		transports += fmt.Sprintf(" {%s = %s:[%s]:%s}", p.Domain, service, host, port)
	}
	if passwords != "" {
		passwords = "inline:{" + passwords + " }"
	}
	return "inline:{" + transports + " }", passwords
}

const postfixServices = `cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
flush unix n - n 1000 0 flush
scache unix - - n - 1 scache
tlsmgr unix - - n 1000 1 tlsmgr
none unix - - n - - smtp -o smtp_tls_security_level=none
starttls unix - - n - - smtp -o smtp_tls_security_level=encrypt
implicit unix - - n - - smtp -o smtp_tls_security_level=encrypt -o smtp_tls_wrappermode=yes
starttls-auth unix - - n - - smtp -o smtp_tls_security_level=encrypt -o smtp_sasl_auth_enable=yes
implicit-auth unix - - n - - smtp -o smtp_tls_security_level=encrypt -o smtp_tls_wrappermode=yes -o smtp_sasl_auth_enable=yes
postlog unix-dgram n - n - 1 postlogd
`
