package peertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What stands in every slapd: its suffix, and who may read all but passwords.
const (
	SlapdBase     = "dc=example,dc=org"
	SlapdUser     = "cn=reader,dc=example,dc=org"
	SlapdPassword = "open sesame"
)

// Attributes of Active Directory, and one of a mail server's schema, with numbers that are nobody's.
const slapdConfig = `include {schema}/core.schema
include {schema}/cosine.schema
include {schema}/inetorgperson.schema
attributetype ( 1.3.6.1.4.1.0.1.1 NAME 'mailAlternateAddress' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.0.1.2 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.0.1.3 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.0.1.4 NAME 'userAccountControl' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.0.1.5 NAME 'uSNChanged' EQUALITY integerMatch ORDERING integerOrderingMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.0.1.6 NAME 'highestCommittedUSN' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.0.1.7 NAME 'dsServiceName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
modulepath {modules}
moduleload back_mdb
pidfile {dir}/pid
argsfile {dir}/args
sizelimit size.soft={limit} size.hard={limit} size.pr={limit} size.prtotal=unlimited
{more}
database mdb
suffix dc=example,dc=org
rootdn cn=admin,dc=example,dc=org
rootpw admin
directory {dir}/db
maxsize 268435456
dbnosync
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
`

// Slapd is OpenLDAP's server.
type Slapd struct {
	Addr   string // host:port of LDAP
	Secure string // host:port of LDAPS, with a certificate only

	t    testing.TB
	dir  string
	conf string
	cmd  *exec.Cmd
}

// SlapdOptions are what tests vary.
type SlapdOptions struct {
	Entries   string // LDIF below SlapdBase, whose own entry is there
	SizeLimit int    // entries that one search, or one page of it, may have; 0: 500
	CertFile  string // with KeyFile: STARTTLS and LDAPS are offered
	KeyFile   string
	RootDSE   string // further lines of the root DSE's LDIF, such as "dsServiceName: x"
}

// StartSlapd starts a slapd that ends with the test.
func StartSlapd(t testing.TB, o SlapdOptions) *Slapd {
	t.Helper()
	dir, err := os.MkdirTemp("", "slapd")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Slapd{Addr: FreeAddr(t), t: t, dir: dir, conf: filepath.Join(dir, "slapd.conf")}
	more := ""
	if o.CertFile != "" {
		s.Secure = FreeAddr(t)
		more += fmt.Sprintf("TLSCertificateFile %s\nTLSCertificateKeyFile %s\n", o.CertFile, o.KeyFile)
	}
	if o.RootDSE != "" {
		s.write("root.ldif", "dn:\nobjectClass: top\nobjectClass: OpenLDAProotDSE\n"+o.RootDSE+"\n")
		more += "rootDSE " + filepath.Join(dir, "root.ldif") + "\n"
	}
	if o.SizeLimit == 0 {
		o.SizeLimit = 500
	}
	must(t, os.Mkdir(filepath.Join(dir, "db"), 0o700))
	s.write("slapd.conf", fill(slapdConfig, "schema", File(t, "etc/ldap/schema"), "modules", File(t, "usr/lib/ldap"),
		"dir", dir, "limit", fmt.Sprint(o.SizeLimit), "more", more))
	s.write("entries.ldif", "dn: "+SlapdBase+"\nobjectClass: domain\n\n"+
		"dn: "+SlapdUser+"\nobjectClass: person\nsn: reader\nuserPassword: "+SlapdPassword+"\n\n"+o.Entries)
	s.run("slapadd", "-q", "-f", s.conf, "-l", filepath.Join(dir, "entries.ldif"))
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

func (s *Slapd) write(name, text string) {
	s.t.Helper()
	must(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600))
}

func (s *Slapd) run(name string, args ...string) {
	s.t.Helper()
	if out, err := Command(s.t, name, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, tail(string(out)))
	}
}

// Start starts it anew, at the same addresses, after Stop.
func (s *Slapd) Start() {
	s.t.Helper()
	urls := "ldap://" + s.Addr
	if s.Secure != "" {
		urls += " ldaps://" + s.Secure
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	must(s.t, err)
	defer log.Close()
	s.cmd = Command(s.t, "slapd", "-d", "0", "-f", s.conf, "-h", urls)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	must(s.t, s.cmd.Start())
	if err := await(s.Addr); err != nil {
		b, _ := os.ReadFile(log.Name())
		s.t.Fatalf("%v\n%s", err, tail(string(b)))
	}
}

// Stop ends it, if it runs.
func (s *Slapd) Stop() {
	if s.cmd != nil {
		stop(s.cmd, syscall.SIGTERM)
		s.cmd = nil
	}
}

// Change applies an LDIF of changes.
func (s *Slapd) Change(t testing.TB, ldif string) {
	t.Helper()
	cmd := Command(t, "ldapmodify", "-x", "-H", "ldap://"+s.Addr, "-D", "cn=admin,"+SlapdBase, "-w", "admin")
	cmd.Stdin = strings.NewReader(ldif)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ldapmodify: %v\n%s", err, tail(string(out)))
	}
}

// Delete removes entries, named by what stands before SlapdBase in their DN.
func (s *Slapd) Delete(t testing.TB, names ...string) {
	t.Helper()
	var ldif strings.Builder
	for _, n := range names {
		fmt.Fprintf(&ldif, "dn: %s,%s\nchangetype: delete\n\n", n, SlapdBase)
	}
	s.Change(t, ldif.String())
}
