package rules

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// maxForged is what one field that anybody can write may take off a score, and maxForgedAll what all of them may: that is, what the nice
// rules for answers and programs for people do, and a reply that is none any more.
const (
	maxForged    = 0.16
	maxForgedAll = 0.26
)

// forgedFields leave out what makes an imitation of Outlook complete (X-MimeOLE, Thread-Index): that it is not is all that
// P_OUTLOOK_FAKE can see.
var forgedFields = []string{
	"X-AntiAbuse: x", "X-PHP-Originating-Script: 33:x.php", "List-Id: <list.lists.example>", "List-Unsubscribe: <https://lists.example/u>",
	"List-Unsubscribe-Post: List-Unsubscribe=One-Click", "List-Post: <mailto:list@lists.example>", "Precedence: bulk", "Precedence: list",
	"Auto-Submitted: auto-generated", "X-Mailer: PHPMailer 6.8.0", "X-Mailer: Apple Mail (2.3608)", "X-Mailer: PHP/7.4",
	"User-Agent: Mutt/2.2.9", "In-Reply-To: <a1b2@mail.example.net>", "References: <a1b2@mail.example.net>", "X-Priority: 3", "Importance: normal",
	"Feedback-ID: 1:2:3:x", "Sender: list@lists.example", "X-Original-To: john@example.net",
	"Received: (from apache@localhost) by web.example; Mon, 3 May 2021 10:00:00 +0000",
}

// TestForgedFields: no field that anybody can write makes unwanted mail look wanted, nor do all together.
func TestForgedFields(t *testing.T) {
	a, err := txtar.ParseFile("testdata/default.txtar")
	if err != nil {
		t.Fatal(err)
	}
	set := defaultSet(t)
	names := func(r Result) (all []string) {
		for _, h := range r.Hits {
			if h.Score != 0 && !h.Rule.Hidden() {
				all = append(all, h.Rule.Name)
			}
		}
		return all
	}
	for _, f := range a.Files {
		if !strings.HasPrefix(f.Name, "spam") {
			continue
		}
		before := runDefault(t, set, readCase(t, f.Data))
		try := func(fields string, most float64) {
			after := runDefault(t, set, readCase(t, []byte(fields+"\n"+string(f.Data))))
			if before.Score-after.Score > most+1e-9 {
				had, has := names(before), names(after)
				lost := slices.DeleteFunc(slices.Clone(had), func(n string) bool { return slices.Contains(has, n) })
				got := slices.DeleteFunc(has, func(n string) bool { return slices.Contains(had, n) })
				t.Errorf("%s: %q takes the score from %.2f to %.2f: no more %v, now %v", f.Name, fields, before.Score, after.Score, lost, got)
			}
		}
		for _, field := range forgedFields {
			try(field, maxForged)
		}
		try(strings.Join(forgedFields, "\n"), maxForgedAll)
	}
}
