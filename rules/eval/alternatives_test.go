package eval

import (
	"fmt"
	"strings"
	"testing"
)

// nested makes a message of multipart/alternative within one another, each with a text and HTML.
func nested(depth int) string {
	var b strings.Builder
	for i := range depth {
		fmt.Fprintf(&b, "Content-Type: multipart/alternative; boundary=b%d\n\n--b%d\nContent-Type: text/plain\n\nplain%d\n--b%d\nContent-Type: text/html\n\n<p>html%d</p>\n--b%d\n", i, i, i, i, i, i)
	}
	return b.String() + "Content-Type: text/plain\n\nend\n"
}

// TestNestedAlternatives: each text is read for a bounded number of those around it, however deep it lies.
func TestNestedAlternatives(t *testing.T) {
	for _, depth := range []int{1, 3, 7, 40} {
		m := posternMail(t, nested(depth))
		all, within := pairs(m.Text.Content().Root())
		if len(all) != min(depth, maxAlternatives) {
			t.Errorf("%d within one another: %d are compared", depth, len(all))
		}
		read := 0
		for _, p := range m.Text.Parts() {
			for o := within[p.Part]; o != nil; o = o.around {
				read++
			}
		}
		if read > maxAlternatives*len(m.Text.Parts()) {
			t.Errorf("%d within one another: %d readings of %d texts", depth, read, len(m.Text.Parts()))
		}
		if a := m.alternatives(); a.html == 0 || a.difference != 100 {
			t.Errorf("%d within one another: %+v", depth, a)
		}
	}
}
