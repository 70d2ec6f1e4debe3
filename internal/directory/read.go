package directory

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/postern-mail/postern/upstream"
)

const (
	// maxMailboxes bounds a list.
	maxMailboxes = 4 << 20
	// overlap is how far an incremental read by time goes back behind the newest entry: changes reach a replica late, and
	// with the time at which they were made elsewhere.
	overlap = 10 * time.Minute
	// generalized is the form of times that servers write (RFC 4517 3.3.13), up to the second.
	generalized = "20060102150405"

	usnAttribute  = "uSNChanged"
	timeAttribute = "modifyTimestamp"
)

// mark is how far a read came, for one that asks for what came after it. Without usn and since there is none.
type mark struct {
	server string    // of usn: which counts for itself
	usn    int64     // Active Directory: the highest number of a change
	since  time.Time // elsewhere: that of the newest change seen
}

func (m mark) none() bool { return m.usn == 0 && m.since.IsZero() }

// condition gives the filter of entries that changed after m.
func (m mark) condition(filter string) string {
	if m.usn > 0 {
		return fmt.Sprintf("(&%s(%s>=%d))", filter, usnAttribute, m.usn+1)
	}
	return fmt.Sprintf("(&%s(%s>=%sZ))", filter, timeAttribute, m.since.Add(-overlap).UTC().Format(generalized))
}

// reading is one read of a directory.
type reading struct {
	*conn
	s       *Settings
	found   *upstream.Mailboxes
	skipped int       // values that are no addresses
	others  string    // a reference to entries below a base that another server has; "" for none
	newest  time.Time // of the changes seen
}

// readAll reads everything from one server.
func readAll(ctx context.Context, s *Settings, url string, room int) (*reading, mark, error) {
	c, err := dial(ctx, s, url)
	if err != nil {
		return nil, mark{}, err
	}
	defer c.close()
	r := &reading{conn: c, s: s, found: upstream.NewMailboxes(room)}
	// What changes while it is read is read again afterwards: the mark is that of before.
	m, err := r.position()
	if err == nil {
		err = r.each(s.Filter)
	}
	if err != nil {
		return nil, mark{}, err
	}
	if m.usn == 0 {
		m.since = r.newest
		if now := time.Now(); m.since.After(now) {
			m.since = now
		}
	}
	return r, m, nil
}

// readChanged reads what changed since m from the same server. errOther says that its numbers are not those of m.
func readChanged(ctx context.Context, s *Settings, url string, m mark) (*reading, mark, error) {
	c, err := dial(ctx, s, url)
	if err != nil {
		return nil, mark{}, err
	}
	defer c.close()
	r := &reading{conn: c, s: s, found: upstream.NewMailboxes(0)}
	now, err := r.position()
	if err != nil {
		return nil, mark{}, err
	}
	if now.server != m.server || now.usn < m.usn {
		return nil, mark{}, errOther
	}
	if err := r.each(m.condition(s.Filter)); err != nil {
		return nil, mark{}, err
	}
	if now.usn == 0 {
		now.since = m.since
		if clock := time.Now(); r.newest.After(m.since) && r.newest.Before(clock) {
			now.since = r.newest
		}
	}
	return r, now, nil
}

// errOther says that an incremental read is not possible, and a full one is.
var errOther = errors.New("directory: another server than before")

// position asks the server how far its changes are, as far as it numbers them (MS-ADTS 3.1.1.3.2).
func (r *reading) position() (mark, error) {
	res, err := r.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, r.limit(), false,
		"(objectClass=*)", []string{"highestCommittedUSN", "dsServiceName"}, nil))
	if ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInsufficientAccessRights) {
		return mark{}, nil // a server that shows nothing of itself
	}
	if err != nil {
		return mark{}, fmt.Errorf("root DSE: %w", err)
	}
	if len(res.Entries) == 0 {
		return mark{}, nil
	}
	usn, err := strconv.ParseInt(res.Entries[0].GetEqualFoldAttributeValue("highestCommittedUSN"), 10, 64)
	if err != nil || usn <= 0 {
		return mark{}, nil
	}
	return mark{usn: usn, server: res.Entries[0].GetEqualFoldAttributeValue("dsServiceName")}, nil
}

func (r *reading) limit() int { return int(max(r.s.Timeout/time.Second, 1)) }

// each takes up the addresses of all entries that match, below each base, page by page.
func (r *reading) each(filter string) error {
	for _, base := range r.s.Base {
		if err := r.below(base, filter); err != nil {
			return fmt.Errorf("%s: %w", base, err)
		}
	}
	return nil
}

func (r *reading) below(base, filter string) error {
	paging := ldap.NewControlPaging(uint32(r.s.Page)) //nolint:gosec // bounded by the configuration
	attributes := append([]string{timeAttribute}, r.s.Attributes...)
	for {
		// A list that a limit of the server's has cut is an error (sizeLimitExceeded and others), and so is a referral.
		res, err := r.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, r.limit(), false,
			filter, attributes, []ldap.Control{paging}))
		if err != nil {
			return err
		}
		for _, e := range res.Entries {
			if err := r.entry(e); err != nil {
				return err
			}
		}
		for _, ref := range res.Referrals {
			if r.others == "" && hasMailboxes(ref) {
				r.others = ref
			}
		}
		// RFC 2696 3: an empty cookie, or no control at all, ends the list. What a server refers to elsewhere is not followed.
		next, ok := ldap.FindControl(res.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok || len(next.Cookie) == 0 {
			return nil
		}
		paging.SetCookie(next.Cookie)
	}
}

// hasMailboxes reports whether a reference (RFC 4511 4.5.3) may lead to mailboxes: not to those partitions of Active Directory that every
// domain refers to, which have none.
func hasMailboxes(ref string) bool {
	u, err := url.Parse(ref)
	if err != nil {
		return true
	}
	dn := strings.ToLower(strings.TrimPrefix(u.Path, "/"))
	for _, none := range []string{"dc=domaindnszones,", "dc=forestdnszones,", "cn=configuration,", "cn=schema,"} {
		if strings.HasPrefix(dn, none) {
			return false
		}
	}
	return true
}

// entry takes up the addresses of one entry.
func (r *reading) entry(e *ldap.Entry) error {
	for _, a := range e.Attributes {
		name, options, _ := strings.Cut(a.Name, ";")
		if strings.EqualFold(name, timeAttribute) {
			r.changed(a.Values)
			continue
		}
		r.values(a.Values)
		if _, ok := rangeEnd(options); ok {
			if err := r.rest(e.DN, name, options); err != nil {
				return err
			}
		}
	}
	if r.found.Len() > maxMailboxes {
		return fmt.Errorf("more than %d mailboxes", maxMailboxes)
	}
	return nil
}

func (r *reading) changed(values []string) {
	for _, v := range values {
		if len(v) <= len(generalized) || v[len(v)-1] != 'Z' {
			continue
		}
		if at, err := time.Parse(generalized, v[:len(generalized)]); err == nil && at.After(r.newest) {
			r.newest = at
		}
	}
}

func (r *reading) values(values []string) {
	for _, v := range values {
		entry, is := Address(v)
		switch {
		case entry != "":
			r.found.Add(entry)
		case is:
			r.skipped++
		}
	}
}

// rangeEnd reads the option under which Active Directory gives some of many values (MS-ADTS 3.1.1.3.1.3.3): range=0-1499.
// It gives the number of the last one, and whether there are more.
func rangeEnd(options string) (last int, more bool) {
	for option := range strings.SplitSeq(options, ";") {
		if name, bounds, ok := strings.Cut(option, "="); ok && strings.EqualFold(name, "range") {
			_, end, _ := strings.Cut(bounds, "-")
			last, err := strconv.Atoi(end)
			return last, err == nil && last >= 0 && last < maxMailboxes
		}
	}
	return 0, false
}

// rest reads the values of an attribute that did not come with its entry.
func (r *reading) rest(dn, name, options string) error {
	for last, more := rangeEnd(options); more; {
		ask := fmt.Sprintf("%s;range=%d-*", name, last+1)
		res, err := r.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, r.limit(), false,
			"(objectClass=*)", []string{ask}, nil))
		if err != nil {
			return fmt.Errorf("the other values of %s: %w", name, err)
		}
		before := last
		more = false
		for _, e := range res.Entries {
			for _, a := range e.Attributes {
				n, o, _ := strings.Cut(a.Name, ";")
				if strings.EqualFold(n, name) {
					r.values(a.Values)
					last, more = rangeEnd(o)
				}
			}
		}
		if more && last <= before {
			return fmt.Errorf("the other values of %s: the server goes round in circles", name)
		}
	}
	return nil
}

// Address reads a value of an attribute that holds addresses: one alone, "@domain" for all of a domain, or one of mail behind
// "smtp:" in any case, as Active Directory's proxyAddresses have it. It gives "" for what is none, and then whether it
// should have been one: it is no address of another kind, such as x500:, sip: or spo:.
func Address(value string) (entry string, should bool) {
	value = strings.TrimSpace(value)
	kind, rest, has := strings.Cut(value, ":")
	switch {
	case has && strings.EqualFold(kind, "smtp"):
		value = rest
	case has && !strings.ContainsAny(kind, `"@`):
		return "", false
	}
	entry, err := upstream.Entry(value)
	if err != nil {
		return "", true
	}
	return entry, true
}

// hostOf gives the part of a URL that says which server it is.
func hostOf(s string) string {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		return u.Host
	}
	return s
}
