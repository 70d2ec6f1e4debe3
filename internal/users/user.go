package users

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"github.com/postern-mail/postern/mail"
)

// User is one who may log in. It is immutable.
type User struct {
	Name  string // as the file has it
	Rates []Rate // how many recipients he may have in a time; none: as everybody

	key  string // the name in the form in which names are compared
	line int
	hash Hash
	send []sender
}

// Rate is a limit on recipients in a time.
type Rate struct {
	Recipients int
	Per        time.Duration
}

// String writes r as the file has it.
func (r Rate) String() string { return fmt.Sprintf("%d/%s", r.Recipients, shortDuration(r.Per)) }

// sender is one pattern of what a user may send as: a mailbox, a domain, "*.domain" for those below it, "*".
type sender struct {
	mailbox string
	domain  string
	below   bool
	all     bool
}

// MaySend reports whether the user may send as a: as reverse-path or as author. As the null reverse-path everybody may:
// it claims nothing (RFC 5321 4.5.5).
func (u *User) MaySend(a mail.Address) bool {
	return a.IsZero() || slices.ContainsFunc(u.send, func(s sender) bool {
		switch {
		case s.all:
			return true
		case s.mailbox != "":
			return s.mailbox == a.Mailbox()
		case s.below:
			return a.Domain() != s.domain && mail.Within(a.Domain(), s.domain)
		}
		return s.domain == a.Domain()
	})
}

// MaySendAsAnybody reports whether there is nobody as whom the user may not send.
func (u *User) MaySendAsAnybody() bool {
	return slices.ContainsFunc(u.send, func(s sender) bool { return s.all })
}

// Senders lists what the user may send as, as the file has it.
func (u *User) Senders() []string {
	all := make([]string, len(u.send))
	for i, s := range u.send {
		all[i] = s.String()
	}
	return all
}

func (s sender) String() string {
	switch {
	case s.all:
		return "*"
	case s.mailbox != "":
		return s.mailbox
	case s.below:
		return "*." + s.domain
	}
	return s.domain
}

// parseSender reads one pattern.
func parseSender(text string) (s sender, err error) {
	if text == "*" {
		return sender{all: true}, nil
	}
	if strings.Contains(text, "@") {
		a, err := mail.ParseAddress(text)
		if err != nil || a.Domain() == "" || strings.Contains(a.Local(), "*") {
			return s, fmt.Errorf("send=%s: %q is no address; allowed: an address, a domain, *.domain for the domains below it, *", text, text)
		}
		return sender{mailbox: a.Mailbox()}, nil
	}
	name, below := strings.CutPrefix(text, "*.")
	d, err := mail.Domain(name)
	if err != nil {
		return s, fmt.Errorf("send=%s: %q is no domain; allowed: an address, a domain, *.domain for the domains below it, *", text, text)
	}
	return sender{domain: d, below: below}, nil
}

// maxName is how many octets a name may have. RFC 4616 2 asks for 255.
const maxName = 255

// canonical gives the form in which names are compared (RFC 8265 3.3): in lower case, in one form of Unicode.
func canonical(name string) (string, error) {
	if name == "" || len(name) > maxName {
		return "", fmt.Errorf("a name has 1 to %d octets", maxName)
	}
	s, err := precis.UsernameCaseMapped.String(name)
	if err != nil || !utf8.ValidString(name) {
		return "", errors.New("a name is of letters, digits and ASCII signs, without blanks")
	}
	return s, nil
}

// parseUser reads one line: NAME HASH send=… [rate=…].
func parseUser(text string) (*User, error) {
	words := strings.Fields(text)
	u := &User{Name: words[0]}
	var err error
	if u.key, err = canonical(u.Name); err != nil {
		return nil, fmt.Errorf("%q: %w", u.Name, err)
	}
	if len(words) < 2 {
		return nil, fmt.Errorf("%s has no hash of a password", u.Name)
	}
	if u.hash, err = ParseHash(words[1]); err != nil {
		return nil, fmt.Errorf("%s: %w", u.Name, err)
	}
	seen := map[string]bool{}
	for _, word := range words[2:] {
		key, value, ok := strings.Cut(word, "=")
		switch {
		case !ok || key != "send" && key != "rate":
			return nil, fmt.Errorf("%s: %.40q is unknown; allowed: send=, rate=", u.Name, word)
		case seen[key]:
			return nil, fmt.Errorf("%s: %s= is there twice", u.Name, key)
		}
		seen[key] = true
		for one := range strings.SplitSeq(value, ",") {
			if err := u.take(key, one); err != nil {
				return nil, fmt.Errorf("%s: %w", u.Name, err)
			}
		}
	}
	if len(u.send) == 0 {
		return nil, fmt.Errorf("%s has no send=: as whom may he send? allowed: addresses, domains, *.domain, *", u.Name)
	}
	return u, nil
}

// take takes up one value of a key.
func (u *User) take(key, value string) error {
	if key == "rate" {
		r, err := parseRate(value)
		u.Rates = append(u.Rates, r)
		return err
	}
	s, err := parseSender(value)
	u.send = append(u.send, s)
	return err
}

// units are those of times in a rate.
var units = []struct {
	letter string
	length time.Duration
}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}

func shortDuration(d time.Duration) string {
	for _, u := range units {
		if d%u.length == 0 && d >= u.length {
			return strconv.FormatInt(int64(d/u.length), 10) + u.letter
		}
	}
	return d.String()
}

// parseRate reads RECIPIENTS/TIME.
func parseRate(text string) (r Rate, err error) {
	count, per, _ := strings.Cut(text, "/")
	r.Recipients, err = strconv.Atoi(count)
	if err == nil && r.Recipients > 0 && len(per) > 1 {
		for _, u := range units {
			digits, ok := strings.CutSuffix(per, u.letter)
			if n, err := strconv.Atoi(digits); ok && err == nil && n > 0 && n <= 1000 {
				r.Per = time.Duration(n) * u.length
				return r, nil
			}
		}
	}
	return Rate{}, fmt.Errorf("rate=%s: must be recipients in a time, such as 200/1h or 1000/1d", text)
}
