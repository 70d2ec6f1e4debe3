package rules

import (
	"context"
	"slices"
	"testing"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/pattern"
	"github.com/postern-mail/postern/rules/text"
)

// TestWorkOfRealMessages: real messages stay far below what one may cost, while the tables are young too.
func TestWorkOfRealMessages(t *testing.T) {
	s, _, err := Load(append(Default(), stockFiles(t)...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var spent []int
	for _, raw := range corpus(t, 60) {
		c := mail.NewContent(mail.NewBlob(raw), mail.LineFaults{}, mail.Limits{})
		st := s.begin(context.Background(), &eval.Mail{Text: text.Of(c, text.Options{})})
		octets := 0
		scan := func(g *group, segs [][]byte) {
			if g.set != nil {
				octets += total(segs)
			}
			st.runGroup(g, segs)
		}
		for i := range s.headers {
			if value, ok := st.m.Text.Header(s.headers[i].selector); ok {
				scan(&s.headers[i].group, [][]byte{value})
			}
		}
		for class, g := range map[Class]*group{Body: &s.body, URI: &s.uri, RawBody: &s.raw, Full: &s.full} {
			scan(g, st.segments(class))
		}
		spent = append(spent, pattern.DefaultWork+50*octets-st.work.Left())
		if len(st.gave) > 0 {
			t.Errorf("%d rules gave up", len(st.gave))
		}
		s.end(st)
		c.Release()
	}
	slices.Sort(spent)
	t.Logf("steps: half below %d, at most %d of %d", spent[len(spent)/2], spent[len(spent)-1], pattern.DefaultWork)
	if most := spent[len(spent)-1]; most <= 0 || most > pattern.DefaultWork/8 {
		t.Errorf("%d steps", most)
	}
}
