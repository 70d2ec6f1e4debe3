package peertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const eximID = 8 // of the user Debian-exim in its jail

const eximConfig = `primary_hostname = {host}
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
domainlist local_domains = {domain}
domainlist relay_domains = {relayed}
never_users =
host_lookup =
rfc1413_hosts =
keep_environment =
add_environment = PATH=/usr/sbin:/usr/bin:/bin
message_size_limit = 100M
smtputf8_advertise_hosts = *
dsn_advertise_hosts = {dsn}
smtp_accept_max = 100
queue_run_max = 20
smtp_accept_queue_per_connection = 0
log_selector = +all
{main}
acl_smtp_rcpt = rcpt
acl_smtp_data = data

begin acl
rcpt:
{restrict}
  accept domains = +local_domains : +relay_domains
  deny
data:
  accept

begin routers
store:
  driver = accept
  domains = +local_domains
  transport = store
{routers}
begin transports
store:
  driver = appendfile
  maildir_format
  directory = /box
  user = Debian-exim
  group = Debian-exim
  create_directory
  message_prefix =
  message_suffix =
clear:
  driver = smtp
  allow_localhost
  port = 25
  hosts_avoid_tls = *
starttls:
  driver = smtp
  allow_localhost
  port = 25
  hosts_require_tls = *
  tls_tempfail_tryclear = false
  hosts_try_auth = {authenticated}
  hosts_require_auth = {authenticated}
implicit:
  driver = smtp
  allow_localhost
  port = 25
  protocol = smtps
  hosts_try_auth = {authenticated}
  hosts_require_auth = {authenticated}

begin retry
* * F,1h,1s

begin rewrite

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{user}^{password}
{login}`

// StartExim starts an Exim that ends with the test. It needs root.
func StartExim(t testing.TB, o MTAOptions) *MTA {
	t.Helper()
	o = o.withDefaults()
	j := newJail(t, "exim", "/usr/sbin/exim4")
	j.users(map[string]int{"Debian-exim": eximID})
	for _, dir := range []string{"/box", "/var/spool/exim4", "/var/log/exim4", "/run/exim4"} {
		j.folder(dir, 0o755, eximID)
	}
	j.write("/etc/mailname", "backend.test\n")
	m := &MTA{Name: "Exim", Addr: FreeAddr(t), box: j.path("/box"), queue: []string{
		j.path("/var/spool/exim4/input/*-H"), j.path("/var/spool/exim4/input/?/*-H"),
	}}
	main := "tls_advertise_hosts =\n"
	if o.CertFile != "" {
		j.secret(o.CertFile, "/etc/cert.pem", eximID)
		j.secret(o.KeyFile, "/etc/key.pem", eximID)
		main = "tls_advertise_hosts = *\ntls_certificate = /etc/cert.pem\ntls_privatekey = /etc/key.pem\n"
	}
	if o.Lenient {
		main += "smtp_enforce_sync = false\n"
	}
	hosts, user, password := authenticated(o.Paths)
	restrict, login := eximLogin(o.Login)
	dsn := "*"
	if o.NoDSN {
		dsn = ""
	}
	j.write("/etc/exim4/exim4.conf", fill(eximConfig, "authenticated", hosts, "user", user, "password", password, "host", hostName(o), "port", port(m.Addr), "domain", o.Domain,
		"relayed", strings.Join(domains(o.Paths), " : "), "restrict", restrict, "dsn", dsn, "login", login, "main", main, "routers", eximRouters(t, o.Paths)))

	said := j.start("/usr/sbin/exim4", "-bdf", "-q1s")
	m.log = func() string {
		b, _ := os.ReadFile(j.path("/var/log/exim4/mainlog"))
		p, _ := os.ReadFile(j.path("/var/log/exim4/paniclog"))
		return said() + string(b) + string(p)
	}
	if err := await(m.Addr); err != nil {
		t.Fatalf("%v\n%s", err, m.Log())
	}
	return m
}

// eximLogin gives the rule and the authenticator that make an Exim want a user.
func eximLogin(l Login) (restrict, authenticator string) {
	if l.Mechanism == "" {
		return "", ""
	}
	prompts, first, second := ":", "$auth2", "$auth3"
	if l.Mechanism == "LOGIN" {
		prompts, first, second = "<| Username: | Password:", "$auth1", "$auth2"
	}
	return "  deny !authenticated = *\n", fmt.Sprintf("server:\n  driver = plaintext\n  public_name = %s\n  server_prompts = %s\n"+
		"  server_condition = ${if and{{eq{%s}{%s}}{eq{%s}{%s}}}}\n  server_set_id = %s\n",
		l.Mechanism, prompts, first, l.User, second, l.Password, first)
}

func eximRouters(t testing.TB, paths []Path) string {
	t.Helper()
	var b strings.Builder
	for _, p := range paths {
		transport := map[string]string{"none": "clear", "starttls": "starttls", "implicit": "implicit"}[p.TLS]
		if transport == "" {
			t.Fatal(modeError(p))
		}
		b.WriteString(fill("{name}:\n  driver = manualroute\n  domains = {domain}\n  transport = {transport}\n"+
			"  route_list = * {host}::{port}\n  self = send\n  no_more\n",
			"name", strings.NewReplacer(".", "_", "-", "_").Replace(p.Domain), "domain", p.Domain, "transport", transport, "host", strings.Split(p.Addr, ":")[0], "port", port(p.Addr)))
	}
	return b.String()
}

// authenticated gives the hosts that want a user, in Exim's notation, and who that is: there can be one.
func authenticated(paths []Path) (hosts, user, password string) {
	var all []string
	for _, p := range paths {
		if p.User != "" {
			all = append(all, strings.Split(p.Addr, ":")[0])
			user, password = p.User, p.Password
		}
	}
	return strings.Join(all, " : "), user, password
}

// secret copies a file into the jail for one user alone.
func (j *jail) secret(from, to string, uid int) {
	j.t.Helper()
	j.copy(from, to)
	must(j.t, os.Chown(j.path(to), uid, uid), os.Chmod(j.path(to), 0o400))
}

func domains(paths []Path) (all []string) {
	for _, p := range paths {
		all = append(all, p.Domain)
	}
	return all
}

// hostName is how a server calls itself: one that relays must not be called as the next server is.
func hostName(o MTAOptions) string {
	if len(o.Paths) > 0 {
		return "relay." + o.Domain
	}
	return "backend.test"
}

func port(addr string) string { return filepath.Ext(strings.ReplaceAll(addr, ":", "."))[1:] }
