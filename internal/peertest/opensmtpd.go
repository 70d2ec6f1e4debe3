package peertest

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The users of OpenSMTPD in its jail.
const (
	smtpdID    = 8
	smtpqID    = 9
	smtpdBoxID = 10
)

// StartOpenSMTPD starts an OpenSMTPD that ends with the test. It needs root.
func StartOpenSMTPD(t testing.TB, o MTAOptions) *MTA {
	t.Helper()
	o = o.withDefaults()
	j := newJail(t, "opensmtpd", "/usr/sbin/smtpd", "/usr/sbin/smtpctl", "/usr/libexec/opensmtpd/mail.maildir", "/bin/sh")
	j.users(map[string]int{"opensmtpd": smtpdID, "opensmtpq": smtpqID, "box": smtpdBoxID})
	j.folder("/var/lib/opensmtpd/empty", 0o755, 0)
	j.folder("/var/spool/smtpd", 0o711, 0)
	j.folder("/box", 0o755, smtpdBoxID)
	// smtpctl looks for just this.
	must(t, os.Chown(j.path("/usr/sbin/smtpctl"), 0, smtpqID), os.Chmod(j.path("/usr/sbin/smtpctl"), 0o755|os.ModeSetgid))
	m := &MTA{Name: "OpenSMTPD", Addr: FreeAddr(t), box: j.path("/box"), queue: []string{j.path("/var/spool/smtpd/queue/*/*/message"), j.path("/var/spool/smtpd/incoming/*/message")}}

	var b strings.Builder
	secrets, tls := "user nobody:nothing\n", ""
	if o.CertFile != "" {
		j.secret(o.CertFile, "/etc/cert.pem", 0)
		j.secret(o.KeyFile, "/etc/key.pem", 0)
		b.WriteString("pki backend cert \"/etc/cert.pem\"\npki backend key \"/etc/key.pem\"\n")
		if tls = " tls pki backend"; o.RequireTLS {
			tls = " tls-require pki backend"
		}
	}
	b.WriteString(fill("mta limit conn-delay-host 0 conn-delay-route 0 conn-delay-source 0 conn-delay-connector 0 conn-delay-relay 0 conn-delay-domain 0\n"+
		"smtp max-message-size \"100M\"\nqueue ttl 1h\ntable everyone { \"@\" = box }\ntable secrets file:/etc/secrets\n"+
		"action store maildir \"/box\" virtual <everyone>\nmatch from any for domain \"{domain}\" action store\n"+
		"listen on 127.0.0.1 port {port} hostname {host}{tls}\n", "domain", o.Domain, "port", port(m.Addr), "host", hostName(o), "tls", tls))
	for _, p := range o.Paths {
		scheme := map[string]string{"none": "smtp+notls", "starttls": "smtp+tls", "implicit": "smtps"}[p.TLS]
		if scheme == "" {
			t.Fatal(modeError(p))
		}
		options, host := "", p.Addr
		if p.TLS != "none" {
			options = " tls no-verify"
		}
		if p.User != "" {
			options += " auth <secrets>"
			host = "user@" + host
			secrets = fmt.Sprintf("user %s:%s\n", p.User, p.Password)
		}
		b.WriteString(fill("action {name} relay host {scheme}://{addr}{options} helo {host}\nmatch from local for domain \"{domain}\" action {name}\n",
			"name", "to_"+strings.ReplaceAll(p.Domain, ".", "_"), "scheme", scheme, "addr", host, "options", options,
			"host", hostName(o), "domain", p.Domain))
	}
	j.write("/etc/secrets", secrets)
	must(t, os.Chown(j.path("/etc/secrets"), 0, smtpdID), os.Chmod(j.path("/etc/secrets"), 0o640))
	j.write("/etc/smtpd.conf", b.String())

	m.log = j.start("/usr/sbin/smtpd", "-d")
	m.retry = func() { _ = j.command("/usr/sbin/smtpctl", "schedule", "all").Run() }
	if err := await(m.Addr); err != nil {
		t.Fatalf("%v\n%s", err, m.Log())
	}
	return m
}
