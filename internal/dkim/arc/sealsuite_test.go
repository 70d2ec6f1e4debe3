package arc

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
)

// consolidated joins the Authentication-Results fields of an id as the suite's README has it, and gives what they say
// of the chain that came: an accurate status is stamped there, and none where there was no chain.
func consolidated(fields []mail.Field, id string) (authResults string, came Status) {
	came = None
	authResults = id
	for _, f := range fields {
		if !f.Is("Authentication-Results") {
			continue
		}
		who, results, _ := strings.Cut(f.Body(), ";")
		if strings.TrimSpace(who) != id {
			continue
		}
		for r := range strings.SplitSeq(results, ";") {
			r = strings.TrimSpace(r)
			authResults += ";\r\n\t" + r
			if word, ok := strings.CutPrefix(r, "arc="); ok {
				came = Status(word)
			}
		}
	}
	return authResults, came
}

// suiteForm gives tags without white space in their values and one blank between them, which is the form of the suite.
func suiteForm(list string) string {
	var all []string
	for t := range strings.SplitSeq(list, ";") {
		all = append(all, strings.Join(strings.Fields(t), ""))
	}
	return strings.Join(all, "; ")
}

// TestSigningSuite compares whole fields: RSA signatures are the same each time, so each octet of the sets, b= and
// bh= among them, must be the suite's.
func TestSigningSuite(t *testing.T) {
	ran := 0
	for _, s := range readSuite(t, "arc-draft-sign-tests.yml") {
		key := privateKey(t, s.PrivateKey)
		for _, c := range s.cases {
			ran++
			message := crlf(c.Message)
			m := material(t, message)
			m.Bodies = hashed(t, message)
			authResults, came := consolidated(m.Fields.All(), c.ID)
			if chain := validate(t, message, records(s.Records)); came != chain.Status && chain.Status != Fail {
				t.Errorf("%s: the chain gives %s (%s), and %s is stamped", c.name, chain.Status, chain.Reason, came)
			}
			sealer := &Sealer{
				Domain: s.Domain, Selector: s.Selector, Key: key, asSuite: true,
				Names: strings.Split(c.Headers, ":"),
				Now:   func() time.Time { return time.Unix(c.Time, 0) },
			}
			got, err := sealer.Seal(m.Fields, m.Bodies, came, authResults)
			if strings.TrimSpace(c.AS) == "" {
				if !errors.Is(err, ErrEnded) {
					t.Errorf("%s: got %v, %v, want no set", c.name, got, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			for i, want := range []string{"ARC-Seal: " + suiteForm(c.AS), "ARC-Message-Signature: " + suiteForm(c.AMS)} {
				if f := strings.TrimSuffix(raw(got[i]), "\r\n"); f != want {
					t.Errorf("%s: got\n%s\nwant\n%s", c.name, f, want)
				}
			}
			want, aar := strings.Join(strings.Fields(c.AAR), " "), strings.Join(strings.Fields(got[2].Body), " ")
			if got[2].Name != fieldAuthResults || aar != want {
				t.Errorf("%s: got\n%s\nwant\n%s", c.name, aar, want)
			}
		}
	}
	if ran != 17 {
		t.Errorf("%d cases were read, not 17", ran)
	}
}
