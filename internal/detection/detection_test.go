package detection

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// archive writes a corpus of one message, of which the manifest says what it is given.
func archive(t *testing.T, name, body, manifest string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.tar.gz")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(body)), Mode: 0o644})
	w.Write([]byte(body))
	w.Close()
	z.Close()
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(strings.TrimSuffix(path, ".tar.gz")+".tsv", []byte("path\tlabel\tbytes\tdate\tsha256\n"+manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadArchive(t *testing.T) {
	const body = "Subject: hi\n\nhello\n"
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
	for _, c := range []struct{ name, file, manifest, fault string }{
		{"as it should be", "src/a.eml", "src/a.eml\tspam\t20\t2020-01-01\t" + sum + "\n", ""},
		{"another message than the manifest's", "src/a.eml", "src/a.eml\tspam\t20\t2020-01-01\t" + strings.Repeat("0", 64) + "\n", "not what the manifest says"},
		{"not in the manifest", "src/b.eml", "src/a.eml\tspam\t20\t2020-01-01\t" + sum + "\n", "not in the manifest"},
		{"missing", "src/readme", "src/a.eml\tspam\t20\t2020-01-01\t" + sum + "\n", "0 messages, 1"},
		{"a label that is none", "src/a.eml", "src/a.eml\tgood\t20\t2020-01-01\t" + sum + "\n", ":2: not path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := ReadArchive(archive(t, c.file, body, c.manifest))
			switch {
			case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
				t.Fatalf("error %v, want %q", err, c.fault)
			case c.fault == "" && (err != nil || len(all) != 1 || !all[0].Spam || all[0].Source != "src" || string(all[0].Octets) != body):
				t.Fatalf("%+v, %v", all, err)
			}
		})
	}
}

func TestStrip(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing to strip", "Subject: a\n\nX-Spam-Flag: YES\n", "Subject: a\n\nX-Spam-Flag: YES\n"},
		{"a verdict with folds", "X-Spam-Status: Yes,\n\ttests=A,\n B\nSubject: a\n b\n\nc", "Subject: a\n b\n\nc"},
		{"an mbox line", "From x@y Mon\nSubject: a\r\n\r\n", "Subject: a\r\n\r\n"},
		{"another's authentication", "subject: a\nAUTHENTICATION-RESULTS : x; spf=pass\n\n", "subject: a\n\n"},
		{"a verdict first", "X-MS-Exchange-Organization-SCL: 5\nTo: b\n\n", "To: b\n\n"},
		{"a word before the subject", "Subject: [SPAM]  Hello [spam]\n\n", "Subject:  Hello [spam]\n\n"},
		{"such words, encoded too", "Subject: [*** POSIBLE SPAM***] =?koi8-r?B?W1NQQU1dIA==?= a\n\n", "Subject: a\n\n"},
		{"a list that speaks of spam", "Subject: [Spambayes] a\n\n", "Subject: [Spambayes] a\n\n"},
		{"header alone", "X-Bogosity: Spam\nTo: b", "To: b"},
		{"the reverse-path", "Return-Path: <a@b.example>\nTo: b\n\n", "To: b\n\n"},
		{"nothing", "", ""},
	} {
		if got := string(Strip([]byte(c.in))); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestReversePath: it is taken from the field that a gateway does not see, before that is taken away.
func TestReversePath(t *testing.T) {
	for _, c := range []struct {
		name, in, sender, delivered string
		has                         bool
	}{
		{"none", "To: b\n\nReturn-Path: <a@b.example>\n", "", "To: b\n\nReturn-Path: <a@b.example>\n", false},
		{"a path", "Return-Path: <A@B.example>\nTo: b\n\n", "A@b.example", "Return-Path: <A@b.example>\nTo: b\n\n", true},
		{"without brackets", "To: b\nReturn-path: a@b.example\n\n", "a@b.example", "Return-Path: <a@b.example>\nTo: b\n\n", true},
		{"the null path", "Return-Path: <>\nTo: b\n\n", "", "Return-Path: <>\nTo: b\n\n", true},
		{"the first of two", "Return-Path: <a@b.example>\nReturn-Path: <c@d.example>\n\n", "a@b.example", "Return-Path: <a@b.example>\n\n", true},
		{"no path", "Return-Path: nobody\nTo: b\n\n", "", "To: b\n\n", false},
		{"of whom it was made unreadable", "Return-Path: <phishing@pot>\n\n", "user@example.net", "Return-Path: <user@example.net>\n\n", true},
	} {
		all := []Message{{Octets: []byte(c.in)}}
		StripAll(all)
		o := all[0].Options()
		if o.From.String() != c.sender || o.HasEnvelope != c.has || string(all[0].Delivered()) != c.delivered {
			t.Errorf("%s: %q %v, %q", c.name, o.From, o.HasEnvelope, all[0].Delivered())
		}
	}
}

// TestRecipient: all messages go to the same.
func TestRecipient(t *testing.T) {
	for _, c := range []struct{ name, in, want, sender string }{
		{
			"a mailbox, its alias and its links",
			"Return-Path: <b-joe=site.example@list.example>\nDelivered-To: joe@mx.site.example\nTo: Joe <JOE@site.example>, ann@other.example\n\nhttp://x.example/?u=joe@site.example.\n",
			"To: Joe <user@example.net>, ann@other.example\n\nhttp://x.example/?u=user@example.net.\n", "b-joe=site.example@list.example",
		},
		{
			"a Received field alone, folded",
			"Received: from a by b id c for\n\t<joe@site.example>; now\nReturn-Path: <>\nTo: all@list.example\n\njoe@site.example\n",
			"Received: from a by b id c for\n\t<user@example.net>; now\nTo: all@list.example\n\nuser@example.net\n", "",
		},
		{"nothing but To", "To: joe@site.example, ann@site.example\n\nann@site.example joe@site.example\n", "To: user@example.net, ann@site.example\n\nann@site.example user@example.net\n", ""},
		{"what was made unreadable", "Return-Path: <b+phishing@pot>\nTo: phishing@pot\n\nphishing@pot\n", "To: user@example.net\n\nuser@example.net\n", "b+user@example.net"},
		{"who writes to himself", "Return-Path: <joe@site.example>\nFrom: joe@site.example\nTo: joe@site.example\n\n", "From: user@example.net\nTo: user@example.net\n\n", "user@example.net"},
	} {
		all := []Message{{Octets: []byte(c.in)}}
		StripAll(all)
		if string(all[0].Octets) != c.want || all[0].Sender.String() != c.sender {
			t.Errorf("%s: %q from %q", c.name, all[0].Octets, all[0].Sender)
		}
	}
}

func message(subject, body string) Message {
	return Message{Corpus: "c", Octets: []byte("Subject: " + subject + "\nContent-Type: text/html\n\n" + body)}
}

func TestClustersAndFolds(t *testing.T) {
	long := func(word string) string {
		var b strings.Builder
		for i := range 60 {
			fmt.Fprintf(&b, "<b>%s%c</b> %c%c ", word, 'a'+i%26, 'a'+i*7%26, 'a'+i/26)
		}
		return b.String()
	}
	all := []Message{
		message("your account", long("alpha")+"http://one.example/123"),
		message("lunch", "shall we go"),
		message("your account 77", "<p>"+long("ALPHA")+"http://two.example/456"),
		message("quite another", long("omega")),
		message("lunch", "shall we go"),
	}
	clusters := Clusters(all)
	if want := []int{0, 1, 0, 2, 1}; fmt.Sprint(clusters) != fmt.Sprint(want) {
		t.Fatalf("clusters %v, want %v", clusters, want)
	}
	folds := Folds(all, clusters, 3)
	if folds[0] != folds[2] || folds[1] != folds[4] || folds[0] == folds[1] {
		t.Errorf("folds %v", folds)
	}
	all[3].Source = "x"
	all[2].Source = "x"
	s := SourceSplit("s", all, clusters, func(m *Message) bool { return m.Source == "" }, func(m *Message) bool { return m.Source == "x" })
	if fmt.Sprint(s.Train, s.Test, s.Known) != "[0 1 4] [3] [0 1 4]" {
		t.Errorf("a near-duplicate of what was learned is judged: %v %v, known %v", s.Train, s.Test, s.Known)
	}
	for f, s := range CrossSplits(folds, 3, func(f int) string { return fmt.Sprint(f) }) {
		if len(s.Train)+len(s.Test) != len(all) {
			t.Errorf("fold %d: %v %v", f, s.Train, s.Test)
		}
	}
}

func TestCurve(t *testing.T) {
	var all []Scored
	for i := range 1000 {
		all = append(all, Scored{Score: float64(i) / 1000, Cluster: i})
	}
	for i := range 100 {
		all = append(all, Scored{Spam: true, Score: 0.9 + float64(i)/500, Cluster: 1000 + i})
	}
	for _, c := range []struct{ most, threshold, recall float64 }{
		{0, 0.999, 0.5}, {0.001, 0.998, 0.5}, {0.01, 0.989, 0.55}, {0.1, 0.899, 1}, {1, math.Inf(-1), 1},
	} {
		if got := Threshold(all, c.most); got != c.threshold {
			t.Errorf("threshold at %v: %v, want %v", c.most, got, c.threshold)
		}
		if got := Recall(all, c.most); got != c.recall {
			t.Errorf("recall at %v: %v, want %v", c.most, got, c.recall)
		}
	}
	if got := AUC(all); math.Abs(got-0.974) > 0.0012 {
		t.Errorf("AUC %v", got)
	}
	if got := AUC([]Scored{{Score: 1}, {Score: 1, Spam: true}}); got != 0.5 {
		t.Errorf("AUC of a tie %v", got)
	}
}

func TestIntervals(t *testing.T) {
	if got := Wilson(8, 10); math.Abs(got.Low-0.4902) > 1e-3 || math.Abs(got.High-0.9433) > 1e-3 {
		t.Errorf("Wilson %v", got)
	}
	clusters := make([]int, 400)
	for i := range clusters {
		clusters[i] = i / 2
	}
	got := Bootstrap(400, clusters, 500, func(picked []int) []float64 {
		n := 0.0
		for _, i := range picked {
			if i < 200 {
				n++
			}
		}
		return []float64{n / float64(len(picked)), math.NaN()}
	})
	// 200 clusters, half of them: ±1.96·√(.25/200) is ±0.069.
	if math.Abs(got[0].Low-0.431) > 0.02 || math.Abs(got[0].High-0.569) > 0.02 || !math.IsNaN(got[1].Low) {
		t.Errorf("bootstrap %v", got)
	}
}
