package sheet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
	"github.com/postern-mail/postern/internal/peertest"
)

type recorder struct {
	lines []string
	fail  error
}

func (r *recorder) File(*archive.Entry) error { return errors.New("an entry") }

func (r *recorder) Sign(s archive.Sign) error {
	r.lines = append(r.lines, s.String())
	return r.fail
}

func walk(t *testing.T, in string) []string {
	t.Helper()
	var r recorder
	if err := Walk(context.Background(), archive.NewFile([]byte(in)), archive.NewBudget(archive.Limits{}, 1), &r); err != nil {
		t.Fatal(err)
	}
	return r.lines
}

func wide(s string) string {
	out := "\xff\xfe"
	for _, u := range utf16.Encode([]rune(s)) {
		out += string([]byte{byte(u), byte(u >> 8)})
	}
	return out
}

// Cells that start a program by DDE, alone and within a table.
func TestDDE(t *testing.T) {
	for _, cell := range []string{
		`=cmd|'/c calc.exe'!A0`, `+cmd|'/c calc'!A0`, `-cmd|'/c calc'!A0`, `@SUM(1+1)*cmd|' /C calc'!A0`,
		`=2+5+cmd|' /C calc'!A0`, `-2+3+cmd|'/c calc'!$A$1`, `"=cmd|'/c ""calc"", x'!A0"`, `=MSEXCEL|'\..\..\cmd.exe /c calc'!''`,
		`=AAAA+BBBB-CCCC&"Hello"/12345&cmd|'/c calc.exe'!A`, `=    C    m D|        '/        c   c  al  c '   !   A`,
		`=rundll32|'URL.dll,OpenURL calc.exe'!A`, `  =cmd|'/c calc'!A0`, `"  =cmd|'/c calc'!A0"`, `=cmd|'it''s'!A0`, `=cmd|calc!A0`,
		`=DDE("cmd";"/c calc";"A0")`, `=1+dde ("soffice";"file:///x";"Sheet1.A1")`, "\"=cmd|\n'/c calc'!A0\"", "\"=cmd|\t'/c calc'!A0\"", `=cmd|'/c calc'!A0` + "\x00",
		`=` + strings.Repeat("1+", 3000) + `cmd|'/c calc'!A0`,
	} {
		for _, format := range []string{"%s", "a,b\r\n1,%s,2\r\n", "a;%s;b", "a\t%s\tb\n", "sep=^\r\na^%s^b", "\"open,%s", "\ufeff%s", "TABLE\r\n0,1\r\n\"X\"\r\n1,0\r\n%s\r\n"} {
			in := fmt.Sprintf(format, cell)
			for _, text := range []string{in, wide(in)} {
				if got := walk(t, text); len(got) != 1 || !strings.HasPrefix(got[0], "macro_auto: a cell starts a program by DDE: ") {
					t.Errorf("%.100q: %q", text, got)
				}
			}
		}
	}
	for _, n := range []int{block - 10, block - 1, 3*block - 5} {
		if got := walk(t, strings.Repeat("x,", n/2)+`=cmd|'/c calc.exe'!A0`+strings.Repeat(",y", block)); len(got) != 1 {
			t.Errorf("at %d: %q", n, got)
		}
	}
}

// Text that people and programs write.
func TestHonest(t *testing.T) {
	for _, in := range []string{
		"", "a,b,c\n1,2,3\n", "=SUM(A1:A3),-5,+49 30 1234,@name\n", "-1|2|3\n+a|b|c!\n", "name|'quoted'!x\n", "- first | second!\n- it's | that's!\n",
		"=HYPERLINK(\"http://example.org/\")\n", "Dear all,\n- one | two 'three' four!\n-- \nName | Title | Wow!\n", "=IF(A1=1;'Sheet 2'!A1;2)\n",
		"=x\x01cmd|'a'!b\n=cmd|'a\x02'!b\n=\u00e9|'a'!b\n", // no cell has such characters
		"a,\"multi\nline\",=1+1\ncmd|'/c calc'!A0\n", "=1+1\ntext cmd|'x'!y\n", "-" + strings.Repeat("a", reach) + "cmd|'x'!y",
		"ID;PWXL;N;E\r\nP;PGeneral\r\nO;L;D;V0;K47;G100 0.001\r\nC;Y1;X1;K\"EXEC(1)\"\r\nC;Y2;X1;K3;ESUM(R1C1:R1C2)\r\nNN;NPrices;ER1C1:R2C2\r\nE\r\n",
		"TABLE\r\n0,1\r\n\"EXCEL\"\r\nVECTORS\r\n0,2\r\n\"\"\r\nDATA\r\n0,0\r\n\"\"\r\n-1,0\r\nBOT\r\n1,0\r\n\"a\"\r\n0,5\r\nV\r\n-1,0\r\nEOD\r\n",
	} {
		if got := walk(t, in); got != nil {
			t.Errorf("%.100q: %q", in, got)
		}
	}
}

func TestSYLK(t *testing.T) {
	const macros = "macro: the sheet holds macros (SYLK O;E)"
	exec := `macro_auto: a macro calls EXEC: "EXEC(\"CALC.EXE\")"`
	auto := `macro_auto: the macro "Auto_open" runs when the sheet is opened or used`
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"a macro that runs", "ID;P\nO;E\nNN;NAuto_open;ER101C1;KOut;F\nC;X1;Y101;K0;EEXEC(\"CALC.EXE\")\nC;X1;Y102;K0;EHALT()\nE\n", []string{auto, exec, macros}},
		{"carriage returns", "ID;P\rO;L;E\rC;X1;Y1;EEXEC(\"CALC.EXE\")\r", []string{exec, macros}},
		{"a macro only", "ID;P\r\nO;E\r\nE\r\n", []string{macros}},
		{"written otherwise", "\ufeffid;p\nnn;n\x1b&1uto_\x00open;er1c1\nE", []string{strings.Replace(auto, "Auto", "auto", 1)}},
		{"with blanks", "ID;P\nC;X1;ECALL (\"a\",\"b\")", []string{`macro_auto: a macro calls CALL: "CALL (\"a\",\"b\")"`}},
		{"DDE", "ID;P\nC;X1;Y1;K0;E1+cmd|'/c a;;b'!A0\n", []string{`macro_auto: a cell starts a program by DDE: "1+cmd|'/c a;b'!A0"`}},
		{"a long record", "ID;P\nC;K" + strings.Repeat("x", 3*recordLimit) + "\nO;E\n", []string{macros, "unreadable: a record longer than 65536 octets"}},
	} {
		if diff := cmp.Diff(c.want, walk(t, c.in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestQueries(t *testing.T) {
	for in, want := range map[string][]string{
		"WEB\r\n1\r\nhttp://example.org/a\r\n": {`macro_auto: a query fetches cells from elsewhere: "http://example.org/a"`},
		"WEB\n1\n":                             {`macro_auto: a query fetches cells from elsewhere: ""`},
		"XLODBC\r\n1\r\nDRIVER=SQL Server":     {`macro_auto: a query fetches cells from elsewhere: "DRIVER=SQL Server"`},
		"WEB\r\n2\r\n":                         nil,
	} {
		if diff := cmp.Diff(want, walk(t, in)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
}

func TestIs(t *testing.T) {
	for in, want := range map[string]bool{
		"ID;PWXL;N;E\r\n": true, "\ufeffid;p": true, "TABLE\r\n0,1\r\n": true, "WEB\r\n1\r\nhttp://a": true, "ID,name\n1,a": false,
		"a,b\n": false, "": false, "TABLE\n": false, "WEB\n": false, wide("ID;P\r\n"): true,
	} {
		if Is([]byte(in)) != want {
			t.Errorf("%q: not %v", in, want)
		}
	}
}

func TestLimits(t *testing.T) {
	for name, in := range map[string]string{
		"calls": strings.Repeat("=a|'b'!c,", 1<<17), "bars": "=" + strings.Repeat("a|'", 1<<20), "open": "=a|'" + strings.Repeat("|'x", 1<<20),
		"blanks": "=a|" + strings.Repeat(" ", 1<<20), "records": "ID;P\n" + strings.Repeat("C;EEXEC(1)\n", 1<<16) + strings.Repeat("NN;NAuto_x\n", 1<<16),
		"numbers": "ID;P\n" + strings.Repeat("O;E\nNN;NAuto_", 1<<16), "semicolons": "ID;P\n" + strings.Repeat(";", 1<<20), "names": "ID;P\nC;E" + strings.Repeat("a|b", 1<<20),
	} {
		if got := walk(t, in); len(got) > tell.Most {
			t.Errorf("%s: %d signs", name, len(got))
		}
	}
}

var errVisitor, errBroken = errors.New("visitor"), errors.New("broken")

type brokenAt struct{}

func (brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off > 0 {
		return 0, errBroken
	}
	return copy(p, "ID;P\n"), nil
}

func TestErrors(t *testing.T) {
	for _, in := range []string{"=a|'b'!c", "ID;P\nO;E\n", "ID;P\nC;EEXEC(1)\n", "ID;P\nNN;NAuto_open\n", "WEB\n1\n"} {
		if err := Walk(context.Background(), archive.NewFile([]byte(in)), nil, &recorder{fail: errVisitor}); err != errVisitor {
			t.Errorf("%q: %v", in, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := Walk(ctx, archive.NewFile([]byte(in)), nil, &recorder{}); !strings.HasPrefix(in, "WEB") && !errors.Is(err, context.Canceled) {
			t.Errorf("%q: %v", in, err)
		}
	}
	if err := Walk(context.Background(), archive.FileAt(brokenAt{}, 1<<20), nil, &recorder{}); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

func TestSuite(t *testing.T) {
	root := peertest.Shared(t, "suites", "attachments", "oletools")
	for name, want := range map[string][]archive.Kind{
		"msodde/dde-in-csv.csv":                 {archive.MacroAuto},
		"excel4-macros/excel4_sample_macro.slk": {archive.MacroAuto},
		"msodde/harmless-clean-2003.xml":        nil,
	} {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		got := walk(t, string(content))
		t.Log(name, got)
		for _, kind := range want {
			if !strings.Contains(strings.Join(got, "\n"), string(kind)) {
				t.Errorf("%s: no %s in %q", name, kind, got)
			}
		}
		if len(want) == 0 && got != nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func FuzzWalk(f *testing.F) {
	for _, s := range []string{"sep=^\n=a|'b'!c", "ID;P\nO;E\nNN;NAuto_open;ER1C1\nC;EEXEC(1)|'x'!y\x1b&1;;", "WEB\n1\nhttp://a", "\"=dde(", "a,+b|c!d"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var r recorder
		if err := Walk(context.Background(), archive.NewFile(in), nil, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.lines) > tell.Most {
			t.Fatalf("%d signs", len(r.lines))
		}
		// Where reading starts and ends is of no interest.
		if bytes.HasPrefix(in, []byte("=cmd|'a'!b")) && len(r.lines) == 0 {
			t.Fatal("missed")
		}
	})
}

// TestFirstLines compares with what finds all lines.
func TestFirstLines(t *testing.T) {
	for _, text := range []string{"", "\r", "\n\n", "a", "a\r\nb", "\r\na\n\n\rb\nc", "a\n", " \nb", "\xff\r\xfe\nc"} {
		all := bytes.FieldsFunc([]byte(text), func(r rune) bool { return r == '\r' || r == '\n' })
		for n := range 4 {
			got, want := firstLines([]byte(text), n), all[:min(n, len(all))]
			if !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("%q, %d: got %q, want %q", text, n, got, want)
			}
		}
	}
}
