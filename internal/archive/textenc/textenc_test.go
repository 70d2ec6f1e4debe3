package textenc

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/archive"
)

// got is a find and its content.
type got struct {
	Kind, Name, Content, Damage string
	Text                        string // what it takes of the text
}

func scan(t testing.TB, text string) (all []got) {
	t.Helper()
	b := archive.NewBudget(archive.Limits{}, int64(len(text)))
	err := Scan(context.Background(), archive.NewFile([]byte(text)), b, func(f Find, content *archive.File) error {
		c, ok, err := content.Bytes(1 << 26)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		all = append(all, got{f.Kind, strings.Join(f.Names, "|"), string(c), f.Damage, text[f.Start:f.End]})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func random(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// coded gives the lines of content in uuencode or xxencode.
func coded(content []byte, digits string) string {
	var out strings.Builder
	for len(content) > 0 {
		n := min(45, len(content))
		out.WriteByte(digits[n])
		group := append(content[:n:n], 0, 0)
		for i := 0; i < n; i += 3 {
			v := uint(group[i])<<16 | uint(group[i+1])<<8 | uint(group[i+2])
			for shift := 18; shift >= 0; shift -= 6 {
				out.WriteByte(digits[v>>shift&63])
			}
		}
		out.WriteString("\n")
		content = content[n:]
	}
	return out.String()
}

const (
	uuDigits    = "`!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_"
	uuBlank     = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_"
	xxDigits    = "+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	hqxDigits   = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
	hqxSentence = "(This file must be converted with BinHex 4.0)\n"
)

func mimeLines(content []byte, width int) string {
	var out strings.Builder
	s := base64.StdEncoding.EncodeToString(content)
	for len(s) > 0 {
		n := min(width, len(s))
		out.WriteString(s[:n] + "\n")
		s = s[n:]
	}
	return out.String()
}

func yEncoded(content []byte) string {
	var out strings.Builder
	for i, c := range content {
		if c += 42; c == 0 || c == '\n' || c == '\r' || c == '=' {
			out.WriteString("=" + string([]byte{c + 64}))
		} else {
			out.WriteByte(c)
		}
		if i%128 == 127 {
			out.WriteString("\n")
		}
	}
	return out.String() + "\n"
}

func binHexed(name string, data, resource []byte) string {
	head := append([]byte{byte(len(name))}, name...)
	head = append(head, "\x00TEXTttxt\x00\x00"...)
	head = binary.BigEndian.AppendUint32(head, uint32(len(data)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(resource)))
	var all []byte
	for _, part := range [][]byte{head, data, resource} {
		all = append(all, part...)
		all = binary.BigEndian.AppendUint16(all, checksum(0, part))
	}
	var runs []byte
	for i := 0; i < len(all); {
		n := 1
		for i+n < len(all) && all[i+n] == all[i] && n < 255 {
			n++
		}
		if runs = append(runs, all[i]); all[i] == 0x90 {
			runs, n = append(runs, 0), 1
		} else if n > 3 {
			runs = append(runs, 0x90, byte(n))
		} else {
			n = 1
		}
		i += n
	}
	out, bits, count := ":", 0, 0
	for _, c := range append(runs, 0) {
		for bits, count = bits<<8|int(c), count+8; count >= 6; {
			count -= 6
			out += string(hqxDigits[bits>>count&63])
			if len(out)%65 == 64 {
				out += "\n"
			}
		}
	}
	return out + ":\n"
}

var escaped = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func TestScan(t *testing.T) {
	data := random(200)
	s := string(data)
	zeros := strings.Repeat("\x00", 90)
	lines64 := mimeLines(data, 76)
	crc := fmt.Sprintf("%08x", crc32.ChecksumIEEE(data))
	eol := func(s, end string) string { return strings.ReplaceAll(s, "\n", end) }
	for _, c := range []struct {
		name, before, text, after string
		want                      []got
	}{
		{"uu", "Hello,\n\n", "begin 644 a b.exe\n" + coded(data, uuDigits) + "`\nend\n", "Bye\n", []got{{UU, "a b.exe", s, "", ""}}},
		{"uu upper", "", "BEGIN 0755 X.EXE\n" + coded(data, uuDigits) + "`\nEND\n", "", []got{{UU, "X.EXE", s, "", ""}}},
		{"uu CR LF", "a\r\n", eol("begin 644 x\n"+coded(data, uuBlank)+" \nend\n", "\r\n"), "b\r\n", []got{{UU, "x", s, "", ""}}},
		{"uu CR", "a\r", eol("begin 644 x\n"+coded(data, uuBlank)+" \nend\n", "\r"), "b\r", []got{{UU, "x", s, "", ""}}},
		{"uu no end", "", "begin 644 x\n" + coded(data, uuDigits), "\nBye bye\n", []got{{UU, "x", s, "", ""}}},
		{"uu end of text", "", "begin 644 x\n" + strings.TrimSuffix(coded(data, uuDigits), "\n"), "", []got{{UU, "x", s, "", ""}}},
		{"uu blanks lost", "", "begin 644 x\nM\nM\n \nend\n", "", []got{{UU, "x", zeros, "", ""}}},
		{"uu checksums", "", "begin 644 x\n" + eol(coded(data, uuDigits), "#\n") + "`\nend\n", "", []got{{UU, "x", s, "", ""}}},
		{"uu junk behind", "", "begin 644 x\n" + eol(coded(data, uuDigits), " some junk\n") + "`\nend\n", "", []got{{UU, "x", s, "", ""}}},
		{"uu junk between", "", "begin 644 x\n" + eol(coded(data, uuDigits), "\nNobody reads this line.\n") + "`\nend\n", "", []got{{UU, "x", s, "", ""}}},
		{"uu empty", "", "begin 644 x\n`\nend\n", "", []got{{UU, "x", "", "", ""}}},
		{"uu no mode", "", "begin  x.exe\n" + coded(data, uuDigits) + "`\nend\n", "", []got{{UU, "x.exe", s, "", ""}}},
		{"uu odd mode", "", "begin 64 x.exe\n" + coded(data, uuDigits) + "`\nend\n", "", []got{{UU, "x.exe|64 x.exe", s, "", ""}}},
		{"uu no name", "", "begin 644 \n" + coded(data, uuDigits) + "`\nend\n", "", []got{{UU, "644", s, "", ""}}},
		{"uu in HTML", "<pre>\n", "begin 644 x\n" + escaped.Replace(coded(data, uuDigits)) + "`\nend\n", "</pre>\n", []got{{UU, "x", s, "", ""}}},
		{"uu behind its end", "", "begin 644 x\n" + coded(data[:90], uuDigits) + "`\n" + coded(data[90:], uuDigits) + "`\nend\n", "", []got{{UU, "x", s, "", ""}}},
		{"uu honest", "begin 644 is how uuencode starts,\nand it goes on with lines\nof data.\n", "", "", nil},
		{"uu honest 2", "begin  with the end\nAT NO TIME\nend\n", "", "", nil},
		{"uu quoted", "> begin 644 x\n> " + eol(coded(data, uuDigits), "\n> ") + "`\n> end\n", "", "", nil},
		{"uu high", "", "begin 644 x\n#0VeT\nend\n", "", []got{{UU, "x", "Cat", "", ""}}},
		{"xx", "x\n", "begin 644 x\n" + coded(data, xxDigits) + "+\nend\n", "", []got{{XX, "x", s, "", ""}}},
		{"uu base64", "", "begin-base64 644 x.exe\n" + lines64 + "====\n", "b\n", []got{{UUBase64, "x.exe", s, "", ""}}},
		{"uu base64 name", "", "begin-base64-encoded 644 eC5leGU=\n" + lines64 + "====\n", "b\n", []got{{UUBase64, "x.exe|eC5leGU=", s, "", ""}}},
		{"yenc", "a\n", "=ybegin line=128 size=200 name=a b.exe\n" + yEncoded(data) + "=yend size=200 crc32=" + crc + "\n", "b\n", []got{{YEnc, "a b.exe", s, "", ""}}},
		{"yenc wrong", "", "=ybegin line=128 size=200 name=x\n" + yEncoded(data) + "=yend size=200 crc32=1\n", "b\n", []got{{YEnc, "x", s, "its checksum is wrong", ""}}},
		{"yenc cut", "", "=ybegin line=128 size=200 name=x\n" + yEncoded(data), "", []got{{YEnc, "x", s, damageNoEnd, ""}}},
		{
			"yenc parts", "a\n", "=ybegin part=1 line=128 size=200 name=x\n=ypart begin=1 end=100\n" + yEncoded(data[:100]) + "=yend size=100 part=1\n\n" +
				"=ybegin part=2 line=128 size=200 name=x\n=ypart begin=101 end=200\n" + yEncoded(data[100:]) + "=yend size=100 part=2 crc32=" + crc + "\n", "b\n",
			[]got{{YEnc, "x", s, "", ""}},
		},
		{"yenc honest", "=ybegin is a word of yEnc\n=ybegin \n", "", "", nil},
		{"binhex", "a\n", hqxSentence + "\n" + binHexed("x.exe", data, nil), "b\n", []got{{BinHex, "x.exe", s, "", ""}}},
		{"binhex forks", "", hqxSentence + binHexed("x", []byte(zeros), data), "", []got{{BinHex, "x", zeros, "", ""}, {BinHexFork, "x", s, "", ""}}},
		{"binhex honest", hqxSentence + "so says RFC 1741.\n", "", "", nil},
		{"base64", "Hello,\n", lines64, "\nbye\n", []got{{Base64, "", s, "", ""}}},
		{"base64 name", "Content-Type: x/y;\n name=\"x.exe\"\n\n", lines64, "--b--\n", []got{{Base64, "x.exe", s, "", ""}}},
		{"base64 names", "filename*=utf-8''%78.exe\n", lines64, "", []got{{Base64, "utf-8''%78.exe|x.exe", s, "", ""}}},
		{"base64 one line", "", mimeLines(data, 1000), "\nbye\n", []got{{Base64, "", s, "", ""}}},
		{"base64 narrow", "", mimeLines(data, 20), "\nbye\n", []got{{Base64, "", s, "", ""}}},
		{"base64 spaced", "a\n", eol(lines64, "\n\n")[:len(lines64)+3], "\nbye\n", []got{{Base64, "", s, "", ""}}},
		{"base64 indented", "", eol("\n"+lines64, "\n\t")[1 : len(lines64)+4], "", []got{{Base64, "", s, "", ""}}},
		{"base64 two", "", lines64, "--\n" + lines64, []got{{Base64, "", s, "", ""}, {Base64, "", s, "", lines64}}},
		{"base64 quoted", "> " + eol(lines64, "\n> ") + "\n", "", "", nil},
		{"base64 of rules", strings.Repeat("=", 70) + "\n" + strings.Repeat("-", 70) + "\n" + strings.Repeat("/", 70) + "\n" + strings.Repeat("_", 70) + "\n", "", "", nil},
		{"base64 words", "internationalization\nuncharacteristically\nand\n", "", "", nil},
		{
			"base64 url", "", strings.NewReplacer("+", "-", "/", "_").Replace(lines64), "\n",
			[]got{{Base64URL, "", s, "", ""}},
		},
		{"prose", "It was a dark and stormy night; the rain fell in torrents.\n", "", "", nil},
		{"nothing", "", "", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range c.want {
				if c.want[i].Text == "" {
					c.want[i].Text = c.text
				}
			}
			if diff := cmp.Diff(c.want, scan(t, c.before+c.text+c.after)); diff != "" {
				t.Error("-want +got:\n" + diff)
			}
		})
	}
}

// Content that outgrows every buffer comes through, in lines and in one line.
func TestScanLarge(t *testing.T) {
	data := random(3 << 20)
	sum := fmt.Sprintf("%x", crc32.ChecksumIEEE(data))
	long := base64.StdEncoding.EncodeToString(data)
	for name, text := range map[string]string{
		UU:                "begin 644 x\n" + coded(data, uuDigits) + "`\nend\n",
		XX:                "begin 644 x\n" + coded(data, xxDigits) + "+\nend\n",
		UUBase64:          "begin-base64 644 x\n" + mimeLines(data, 76) + "====\n",
		YEnc:              "=ybegin line=128 size=3145728 name=x\n" + yEncoded(data) + "=yend size=3145728 crc32=" + sum + "\n",
		Base64:            mimeLines(data, 76),
		Base64 + " long":  long,
		Base64 + " 80000": mimeLines(data, 80000),
	} {
		all := scan(t, strings.Repeat("It was a dark and stormy night.\n", 10000)+text+"\nBye.\n")
		if len(all) != 1 || all[0].Content != string(data) || all[0].Damage != "" || !strings.HasPrefix(name, all[0].Kind) {
			t.Errorf("%s: %d finds", name, len(all))
			for _, g := range all {
				t.Log(g.Kind, len(g.Content), g.Damage)
			}
		}
	}
}

func TestWalkBudget(t *testing.T) {
	text := []byte(strings.Repeat("begin 644 x\n#0V%T\n`\nend\n", 20))
	var v visitor
	if err := Walk(context.Background(), archive.NewFile(text), archive.NewBudget(archive.Limits{Files: 3}, 1), &v); err != nil {
		t.Fatal(err)
	}
	if v.files != 3 || len(v.signs) != 1 || v.signs[0].Kind != archive.Bomb {
		t.Fatal(v.files, v.signs)
	}
	v = visitor{}
	bomb := hqxSentence + binHexed("x", make([]byte, 1<<20), nil)
	if err := Walk(context.Background(), archive.NewFile([]byte(bomb)), archive.NewBudget(archive.Limits{Octets: 1000}, 1), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.signs) != 1 || v.signs[0].Kind != archive.Bomb {
		t.Fatal(v.files, v.signs)
	}
	mine := errors.New("mine")
	v = visitor{err: mine}
	if err := Walk(context.Background(), archive.NewFile(text), archive.NewBudget(archive.Limits{}, 1), &v); err != mine {
		t.Fatal(err)
	}
}

type visitor struct {
	files int
	signs []archive.Sign
	err   error
}

func (v *visitor) File(e *archive.Entry) error {
	v.files++
	return v.err
}

func (v *visitor) Sign(s archive.Sign) error {
	v.signs = append(v.signs, s)
	return v.err
}

func FuzzScan(f *testing.F) {
	data := random(150)
	for _, text := range []string{
		"begin 644 x\n" + coded(data, uuDigits) + "`\nend\n", "begin 644 x\n" + coded(data, xxDigits) + "+\nend\n",
		"begin-base64 644 x\n" + mimeLines(data, 76) + "====\n", "name=x\n" + mimeLines(data, 30), mimeLines(data, 76) + "\n" + mimeLines(data, 76),
		"=ybegin line=128 size=150 name=x\n" + yEncoded(data) + "=yend size=150\n", hqxSentence + binHexed("x", data, data),
	} {
		f.Add([]byte("a\n" + text + "b"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		b := archive.NewBudget(archive.Limits{Octets: 1 << 20, Files: 50}, int64(len(text)))
		last := int64(0)
		err := Scan(context.Background(), archive.NewFile(text), b, func(f Find, content *archive.File) error {
			if f.Start < last && f.Kind != BinHexFork || f.End <= f.Start || f.End > int64(len(text)) {
				t.Fatalf("%+v behind %d", f, last)
			}
			last = f.End
			return nil
		})
		var spent *archive.ErrBudget
		if err != nil && !errors.As(err, &spent) {
			t.Fatal(err)
		}
	})
}

func BenchmarkScanProse(b *testing.B) {
	text := bytes.Repeat([]byte("It was a dark and stormy night; the rain fell in torrents, except at occasional\r\n"+
		"intervals, when it was checked by a violent gust of wind which swept up the\r\nstreets (for it is in London\r\n"+
		"that our scene lies).\r\n\r\n"), 20000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		budget := archive.NewBudget(archive.Limits{}, 1)
		if err := Scan(context.Background(), archive.NewFile(text), budget, nil); err != nil {
			b.Fatal(err)
		}
	}
}
