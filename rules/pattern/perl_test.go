//go:build !race

package pattern

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// perlProgram answers questions, one a line:
//
//	P HEX        keeps a pattern: its number, or "-" where Perl does not take it
//	M N HEX      the groups of the first match of pattern N, and how many matches there are
//	S N,N HEX,HEX  which of the patterns match in which text first, and how often in all
const perlProgram = `
use strict; no warnings; binmode STDIN; binmode STDOUT; $| = 1;
my (@re, $n);
while (my $line = <STDIN>) {
	chomp $line;
	my ($what, $a, $b) = split / /, $line, 3;
	if ($what eq 'P') {
		my $text = pack('H*', $a);
		my $re = eval { qr/$text/aa };
		if (!defined $re || $text =~ /\(\?\??\{/) { my $e = "$@"; $e =~ s/\n.*//s; print "- $e\n"; next }
		push @re, $re;
		print $#re, "\n";
	} elsif ($what eq 'M') {
		my $text = pack('H*', $b // '');
		my $re = $re[$a];
		if ($text !~ $re) { print "-\n"; next }
		my @at = map { my $g = $_; defined $-[$g] && defined $+[$g] ? ($-[$g], $+[$g]) : (-1, -1) } 0 .. $#+;
		my $count = 0;
		$count++ while $text =~ /$re/g && $count < 200;
		print join(' ', $count, @at), "\n";
	} else {
		my @text = map { pack('H*', $_) } split /,/, $b // '', -1;
		my @out;
		for my $i (split /,/, $a) {
			my ($first, $count) = (-1, 0);
			for my $s (0 .. $#text) {
				last if $count >= 1000;
				while ($text[$s] =~ /$re[$i]/g) {
					$first = $s if $first < 0;
					last if ++$count >= 1000;
				}
			}
			push @out, "$i:$first:$count" if $count;
		}
		print join(' ', @out), "\n";
	}
}
`

// perl is a running Perl that matches patterns.
type perl struct {
	in  io.Writer
	out *bufio.Reader
}

func startPerl(t testing.TB) *perl {
	t.Helper()
	cmd := peertest.Command(t, "perl", "-e", perlProgram)
	in, out := peertest.Piped(t, cmd)
	return &perl{in, bufio.NewReaderSize(out, 1<<16)}
}

func (p *perl) ask(t testing.TB, question string) string {
	t.Helper()
	if _, err := io.WriteString(p.in, question+"\n"); err != nil {
		t.Fatal(err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line[:len(line)-1]
}

// pattern has Perl keep a pattern.
func (p *perl) pattern(t testing.TB, expr string) (n int, refusal string) {
	t.Helper()
	answer := p.ask(t, "P "+hex.EncodeToString([]byte(expr)))
	n, err := strconv.Atoi(answer)
	if err != nil {
		return 0, answer
	}
	return n, ""
}

// match gives the number of matches, at most 200, and the groups of the first.
func (p *perl) match(t testing.TB, n int, text string) string {
	t.Helper()
	return p.ask(t, fmt.Sprintf("M %d %x", n, text))
}

// ours is what Perl would answer as we see it.
func ours(p *Pattern, text string) string {
	loc, ok, err := p.FindSubmatch([]byte(text), 0)
	if err != nil {
		return err.Error()
	}
	if !ok {
		return "-"
	}
	n, err := p.Count([]byte(text), 200)
	if err != nil {
		return err.Error()
	}
	out := []string{strconv.Itoa(n)}
	for _, at := range loc {
		out = append(out, strconv.Itoa(at))
	}
	return strings.Join(out, " ")
}

// writer makes patterns at random, of which Perl takes most.
type writer struct {
	r      *rand.Rand
	depth  int
	behind bool // Perl loses its way with possessive repeats in a look behind of no fixed length
}

func (w *writer) one(of ...string) string { return of[w.r.IntN(len(of))] }

func (w *writer) pattern() string {
	var b strings.Builder
	for n := 1 + w.r.IntN(4); n > 0; n-- {
		atom := w.atom()
		b.WriteString(atom)
		if w.r.IntN(3) == 0 && !flagsAlone[atom] {
			q := w.one("*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{2,}?", "{,2}", "{ 1, 2 }", "*+", "{0,2}+")
			if w.behind && strings.HasSuffix(q, "+") {
				q = "{1,2}"
			}
			b.WriteString(q)
		}
	}
	if w.depth > 0 && w.r.IntN(3) == 0 {
		w.depth--
		b.WriteString("|" + w.pattern())
		w.depth++
	}
	return b.String()
}

var flagsAlone = map[string]bool{"": true, "(?i)": true, "(?-i)": true, "(?s)": true, "(?m)": true}

func (w *writer) atom() string {
	n := 14
	if w.depth <= 0 {
		n = 8
	}
	switch w.r.IntN(n) {
	case 0, 1, 2:
		return w.one("a", "b", "c", "ab", "A", "-", `\xe9`, "\xe9", "1", "\n", " ")
	case 3, 4:
		return w.one(".", "[ab]", "[^a]", `\w`, `\s`, `\d`, `\W`, "[[:upper:]]", "[b-c1]", `[\w-]`, `\h`, `\N`, `\R`, `\v`, `[^\W]`, `\D`)
	case 5:
		return w.one(`\b`, `\B`, "^", "$", `\A`, `\z`, `\Z`)
	case 6:
		return w.one(`\1`, `\2`, "(?i)", "(?-i)", "", `\g{-1}`, "(?s)", "(?m)", `\10`)
	case 7:
		return w.one(`\x{61}`, `\x62`, `\143`, `\y`, "{", "{,}", "a{,b", "]", `\-`, `\x{100}`, `[^\x{100}]`)
	}
	w.depth--
	defer func() { w.depth++ }()
	open := w.one("(", "(", "(", "(?:", "(?:", "(?i:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?|", "(?<n>", "(?s-i:")
	if w.behind && open == "(?>" {
		open = "(?:"
	}
	was := w.behind
	w.behind = was || strings.HasPrefix(open, "(?<")
	defer func() { w.behind = was }()
	return open + w.pattern() + ")"
}

func (w *writer) text() string {
	var b strings.Builder
	for n := w.r.IntN(12); n > 0; n-- {
		b.WriteString(w.one("a", "b", "c", "A", "B", "-", "\xe9", "\xc9", "1", "\n", " ", "a", "b", "\r\n", "\xa0", "{,}"))
	}
	return b.String()
}

// TestSetsFindWhatFindFinds asks sets for patterns with references and looks, over texts that are likely to match.
func TestSetsFindWhatFindFinds(t *testing.T) {
	matched := 0
	rounds := 400
	if peertest.Every() {
		rounds = 5000
	}
	for round := range rounds {
		r := rand.New(rand.NewPCG(uint64(round), 2))
		w := &writer{r: r, depth: 2}
		group := w.one("(", "(?|(", "(?=(")
		expr := group + w.pattern() + w.one(")", ")", ")|("+w.pattern()+")")
		if group != "(" {
			expr += ")"
		}
		expr += w.one("", "", w.pattern()) + w.one(`\1`, `\1`, `(?i:\1)`, `(?(1)a|b)`) + w.one("", "", w.pattern())
		p, err := Compile(expr, Options{Steps: 2000})
		if err != nil {
			continue
		}
		sets := setsOf(p)
		for range 2 {
			text := w.text()
			if made, ok := p.Sample(r); ok {
				text = w.one("", "a", "-") + string(made) + w.one("", "", "a", "\n", "-")
			}
			if askSets(t, sets, p, text) {
				matched++
			}
		}
	}
	t.Logf("%d matches", matched)
	if matched < rounds/2 {
		t.Error("too few of them mean anything")
	}
}

// TestPerl compares with Perl: which patterns are taken, what the first match and its groups are, and how often it matches. Sets are asked
// as well whether there is a match.
func TestPerl(t *testing.T) {
	perl := startPerl(t)
	rounds := 1500
	if peertest.Every() {
		rounds = 40_000
	}
	var taken, matched, gave, own int
	for round := range rounds {
		w := &writer{r: rand.New(rand.NewPCG(uint64(round), 1)), depth: 3}
		expr := w.pattern()
		n, refusal := perl.pattern(t, expr)
		p, err := Compile(expr, Options{})
		if strings.Contains(refusal, "left brace") { // Perl wants it escaped in some places; we do not mind
			continue
		}
		if (refusal == "") != (err == nil) {
			t.Errorf("%q: perl: %q, we: %v", expr, refusal, err)
			continue
		}
		if err != nil {
			continue
		}
		taken++
		a := askFor(t, expr)
		if a.expr != expr {
			if n, refusal = perl.pattern(t, a.expr); refusal != "" {
				t.Fatalf("%q: %s", a.expr, refusal)
			}
		}
		sets := setsOf(p)
		for range 8 {
			text := w.text()
			want, got := perl.match(t, n, text), ours(p, text)
			switch {
			case got == want:
			case got == ErrSteps.Error():
				gave++
			case a.refers || a.visible(got) == a.visible(want):
				own++
			default:
				t.Errorf("seed %d: %q in %q: got %s, want %s", round, expr, text, got, want)
			}
			if want != "-" {
				matched++
			}
			askSets(t, sets, p, text)
		}
	}
	t.Logf("%d of %d patterns taken, %d matches; %d times we gave up, %d times what a group holds is Perl's own affair",
		taken, rounds, matched, gave, own)
	if taken < rounds/2 || matched < rounds {
		t.Error("too few of them mean anything")
	}
	if gave > rounds/5000 || own > rounds/400 {
		t.Error("too many of them are not compared")
	}
}
