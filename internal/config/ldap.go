package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/postern-mail/postern/internal/directory"
	"github.com/postern-mail/postern/mail"
)

// LDAP says which directory knows the mailboxes of a route, and how it is asked. It is zero without verify: ldap.
type LDAP struct {
	URL        OneOrMore     `yaml:"url"`        // ldap:// or ldaps://, tried in order
	Base       OneOrMore     `yaml:"base"`       // DNs
	Filter     string        `yaml:"filter"`     // RFC 4515
	Attributes []string      `yaml:"attributes"` // that hold addresses
	Bind       *Auth         `yaml:"bind"`       // nil: anonymous
	TLS        string        `yaml:"tls" allowed:"verify|required|none"`
	CAFile     string        `yaml:"ca_file"` // PEM; "" is the system's
	Refresh    time.Duration `yaml:"refresh,omitzero"`
	Full       time.Duration `yaml:"full,omitzero"`
	Stale      time.Duration `yaml:"stale,omitzero"`
	Timeout    time.Duration `yaml:"timeout,omitzero"`
	Page       int           `yaml:"page,omitzero"` // entries
}

// OneOrMore is a list, which the file may write as one text too.
type OneOrMore []string

// UnmarshalYAML reads the text or the list.
func (o *OneOrMore) UnmarshalYAML(decode func(any) error) error {
	var one string
	if err := decode(&one); err == nil {
		*o = OneOrMore{one}
		return nil
	}
	return decode((*[]string)(o))
}

func defaultLDAP() LDAP {
	return LDAP{
		Attributes: []string{"mail", "mailAlternateAddress", "proxyAddresses"}, TLS: "verify",
		Refresh: 5 * time.Minute, Full: time.Hour, Stale: day, Timeout: 10 * time.Second, Page: 500,
	}
}

// ldapKeys are the keys of LDAP.
var ldapKeys = []string{"url", "base", "filter", "attributes", "bind", "tls", "ca_file", "refresh", "full", "stale", "timeout", "page"}

// ldap checks what a route says about a directory, and fills in what it does not say.
func (k *checker) ldap(path string, r *Route) {
	path += ".recipients"
	l := &r.Recipients.LDAP
	if r.Recipients.Verify != "ldap" {
		for _, key := range ldapKeys {
			if k.wrote(path + "." + key) {
				k.fail(path+"."+key, "%s has no meaning without verify: ldap", key)
			}
		}
		return
	}
	l.fill(func(key string) bool { return k.wrote(path + "." + key) })
	const example = "url: [\"ldaps://dc1.corp.example\"], base: \"DC=corp,DC=example\""
	if k.require(path, "url", example) && (len(l.URL) == 0 || len(l.URL) > 20) {
		k.fail(path+".url", "must name one server at least, and at most 20")
	}
	if k.require(path, "base", example) && (len(l.Base) == 0 || len(l.Base) > 20) {
		k.fail(path+".base", "must name one DN at least, and at most 20")
	}
	for i, s := range l.URL {
		if err := directory.CheckURL(s); err != nil {
			k.fail(fmt.Sprintf("%s.url[%d]", path, i), "must be ldaps://HOST or ldap://HOST, with a :PORT if need be, and is %s: %s", show(s), err)
		}
	}
	for i, s := range l.Base {
		if err := directory.CheckDN(s); err != nil {
			k.fail(fmt.Sprintf("%s.base[%d]", path, i), "must be a DN such as DC=corp,DC=example, and is %s: %s", show(s), err)
		}
	}
	if len(l.Attributes) == 0 || len(l.Attributes) > 20 {
		k.fail(path+".attributes", "must name one attribute at least, and at most 20")
	}
	for i, s := range l.Attributes {
		if err := directory.CheckAttribute(s); err != nil {
			k.fail(fmt.Sprintf("%s.attributes[%d]", path, i), "must be the name of an attribute such as mail, and is %s", show(s))
		}
	}
	if l.Filter == "" {
		l.Filter = directory.DefaultFilter(l.Attributes)
	}
	if err := directory.CheckFilter(l.Filter); err != nil && k.wrote(path+".filter") {
		k.fail(path+".filter", "must be a filter in parentheses such as (mail=*), and is %s: %s", show(l.Filter), err)
	}
	k.ldapProtection(path, l)
	k.ldapTimes(path, l)
}

// fill puts the defaults where nothing was written.
func (l *LDAP) fill(wrote func(key string) bool) {
	d := defaultLDAP()
	if !wrote("attributes") {
		l.Attributes = d.Attributes
	}
	if !wrote("tls") {
		l.TLS = d.TLS
	}
	for key, v := range map[string]struct{ to, from *time.Duration }{
		"refresh": {&l.Refresh, &d.Refresh}, "full": {&l.Full, &d.Full}, "stale": {&l.Stale, &d.Stale}, "timeout": {&l.Timeout, &d.Timeout},
	} {
		if !wrote(key) {
			*v.to = *v.from
		}
	}
	if !wrote("full") {
		l.Full = max(l.Full, l.Refresh)
	}
	if !wrote("stale") {
		l.Stale = max(l.Stale, l.Full)
	}
	if !wrote("page") {
		l.Page = d.Page
	}
}

// ldapProtection checks who is logged in as, and whether the password is shown to nobody else.
func (k *checker) ldapProtection(path string, l *LDAP) {
	if l.CAFile != "" && l.TLS != "verify" {
		k.fail(path+".ca_file", "certificates are verified with tls: verify only")
	}
	for i, s := range l.URL {
		if l.TLS == "none" && directory.CheckURL(s) == nil && directory.Secure(s) {
			k.failAllowed(fmt.Sprintf("%s.url[%d]", path, i), []string{"required", "verify"}, "ldaps:// is TLS, and tls: none is not; required takes any certificate")
		}
	}
	if l.Bind == nil {
		return
	}
	if k.require(path+".bind", "user", "user: CN=postern,OU=Services,DC=corp,DC=example") {
		if l.Bind.User == "" || len(l.Bind.User) > maxCredential || strings.ContainsFunc(l.Bind.User, unicode.IsControl) {
			k.fail(path+".bind.user", "must be a name of at most %d octets without control characters, and is %s", maxCredential, show(l.Bind.User))
		}
	}
	if k.require(path+".bind", "password_file", "password_file: /etc/postern/ldap-password") && l.Bind.PasswordFile == "" {
		k.fail(path+".bind.password_file", "must name a file")
	}
	for i, s := range l.URL {
		if l.TLS == "none" && directory.CheckURL(s) == nil && !directory.Secure(s) && !directory.Loopback(s) {
			k.failAllowed(path+".tls", []string{"required", "verify"}, "with bind, tls: none would show the password on the way to %s; with the others StartTLS is used", show(l.URL[i]))
			return
		}
	}
}

func (k *checker) ldapTimes(path string, l *LDAP) {
	for _, c := range []struct {
		key          string
		is, from, to time.Duration
	}{
		{"refresh", l.Refresh, 10 * time.Second, day},
		{"full", l.Full, l.Refresh, 7 * day},
		{"stale", l.Stale, l.Full, 365 * day},
		{"timeout", l.Timeout, time.Second, 5 * time.Minute},
	} {
		if c.is < c.from || c.is > c.to {
			k.fail(path+"."+c.key, "must be from %s to %s", FormatDuration(c.from), FormatDuration(c.to))
		}
	}
	if l.Page < 1 || l.Page > 10_000 {
		k.fail(path+".page", "must be from 1 to 10000; Active Directory gives 1000 at most")
	}
}

// Directory puts what a route says about a directory into the words of the package that reads one; the password is read from its file.
func (l *LDAP) Directory() (directory.Settings, error) {
	mode, err := directory.ParseTLSMode(l.TLS)
	if err != nil {
		return directory.Settings{}, err
	}
	s := directory.Settings{
		URLs: l.URL, Base: l.Base, Filter: l.Filter, Attributes: l.Attributes, TLS: mode, CAFile: l.CAFile,
		Refresh: l.Refresh, Full: l.Full, Stale: l.Stale, Timeout: l.Timeout, Page: l.Page,
	}
	if l.Bind != nil {
		s.User = l.Bind.User
		s.Password, err = l.Bind.Password()
	}
	return s, err
}

// widening checks which mailboxes a route has beside those of its source.
func (k *checker) widening(path string, r *Route) {
	path += ".recipients"
	w := &r.Recipients
	if w.Verify != "file" && w.Verify != "ldap" {
		for _, key := range []string{"recipient_delimiter", "domain_aliases", "catch_all"} {
			if k.wrote(path + "." + key) {
				k.fail(path+"."+key, "%s is for verify: file and verify: ldap", key)
			}
		}
		return
	}
	if strings.Trim(w.RecipientDelimiter, "+-_.=#~^!$&*/?{}|'") != "" || strings.Contains(w.RecipientDelimiter, "!") || len(w.RecipientDelimiter) > 8 {
		k.fail(path+".recipient_delimiter", "must be one or several characters such as +, each of which a local part may have, and is %s", show(w.RecipientDelimiter))
	}
	aliases := make(map[string]string, len(w.DomainAliases))
	for alias, to := range w.DomainAliases {
		at := path + ".domain_aliases." + strconv.Quote(alias)
		a, err := mail.Domain(alias)
		if err != nil {
			k.fail(at, "must be a domain that is another name for one, and is %s", show(alias))
			continue
		}
		d, err := mail.Domain(to)
		switch {
		case err != nil:
			k.fail(at, "must be the domain whose mailboxes it has, and is %s", show(to))
		case d == a:
			k.fail(at, "%s is no other name for itself", show(alias))
		default:
			aliases[a] = d
		}
	}
	for alias, to := range w.DomainAliases {
		if d, err := mail.Domain(to); err == nil && aliases[d] != "" && d != alias {
			k.fail(path+".domain_aliases."+strconv.Quote(alias), "%s is another name itself: name %s", show(to), aliases[d])
		}
	}
	if len(aliases) > 0 {
		w.DomainAliases = aliases
	}
	for i, s := range w.CatchAll {
		d, err := domain(s)
		if err != nil {
			k.fail(fmt.Sprintf("%s.catch_all[%d]", path, i), "must be a domain that has every mailbox, and is %s", show(s))
			continue
		}
		w.CatchAll[i] = d
	}
}
