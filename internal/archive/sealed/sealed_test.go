package sealed

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"context"
	stdbase64 "encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/archive"
)

// der gives an element of definite length.
func der(tag byte, content ...string) string {
	c := strings.Join(content, "")
	switch n := len(c); {
	case n < 0x80:
		return string([]byte{tag, byte(n)}) + c
	default:
		return string(binary.BigEndian.AppendUint32([]byte{tag, 0x84}, uint32(n))) + c
	}
}

// ber0 gives an element of indefinite length.
func ber0(tag byte, content ...string) string {
	return string([]byte{tag, 0x80}) + strings.Join(content, "") + "\x00\x00"
}

func info(id, content string) string {
	return der(tagSequence, der(tagOID, id), der(tagExplicit, content))
}

func signed(content string) string {
	return info(idSigned, der(tagSequence, der(2, "\x01"), der(tagSet), info(idData, der(tagOctets, content)), der(tagSet)))
}

func deflated(s string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

func squeezed(s string) string {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, 9)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

// compressedData has the algorithm and content.
func compressedData(algorithm, content string) string {
	return info(idCompressed, der(tagSequence, der(2, "\x00"), der(tagSequence, der(tagOID, algorithm)), info(idData, der(tagOctets, content))))
}

// packet gives one in the new form.
func packet(tag byte, content string) string {
	return string(binary.BigEndian.AppendUint32([]byte{0xc0 | tag, 255}, uint32(len(content)))) + content
}

func literal(name, content string) string {
	return packet(packetLiteral, "b"+string([]byte{byte(len(name))})+name+"\x00\x00\x00\x00"+content)
}

func armoured(label, fields, content string) string {
	text := stdbase64.StdEncoding.EncodeToString([]byte(content))
	out := "-----BEGIN " + label + "-----\n" + fields + "\n"
	for len(text) > 0 {
		n := min(64, len(text))
		out, text = out+text[:n]+"\n", text[n:]
	}
	return out + "=abcd\n-----END " + label + "-----\n"
}

func appleFile(magic string, parts ...string) string {
	out := magic + "\x00\x02\x00\x00" + strings.Repeat("\x00", 16) + string([]byte{0, byte(len(parts) / 2)})
	at := len(out) + 12*len(parts)/2
	data := ""
	for i := 0; i < len(parts); i += 2 {
		out += string(binary.BigEndian.AppendUint32(nil, uint32(parts[i][0])))
		out += string(binary.BigEndian.AppendUint32(nil, uint32(at+len(data))))
		out += string(binary.BigEndian.AppendUint32(nil, uint32(len(parts[i+1]))))
		data += parts[i+1]
	}
	return out + data
}

type recorder struct {
	got []string
	err error
}

func (r *recorder) File(e *archive.Entry) error {
	content := "none"
	if e.File != nil {
		b, _, _ := e.File.Bytes(1 << 24)
		content = string(b)
	}
	r.got = append(r.got, fmt.Sprintf("%s|%s|%s", strings.Join(e.Names, ","), e.Type, content))
	return r.err
}

func (r *recorder) Sign(s archive.Sign) error {
	r.got = append(r.got, s.String())
	return r.err
}

var (
	mail       = "Content-Type: text/plain\r\n\r\nHello.\r\n"
	entity     = "|" + Entity + "|" + mail
	smimeSign  = "sealed: S/MIME: it is encrypted for its recipient "
	pgpSign    = "sealed: OpenPGP: it is encrypted for its recipient"
	badASN     = "unreadable: CMS: its ASN.1 can't be read"
	session    = packet(packetPublicSession, "\x0312345678\x01keykeykey")
	protected  = packet(packetProtected, "\x01secretsecretsecret")
	onePass    = packet(4, "\x03\x00\x08\x0112345678\x01")
	signature  = packet(2, "\x04\x00\x01\x08\x00\x00\x00\x00\x12\x34\x00\x01x")
	pieceTree  = ber0(0x24, der(tagOctets, mail[:10]), ber0(0x24, der(tagOctets, mail[10:20])), der(0x24, der(tagOctets, mail[20:])))
	indefinite = ber0(tagSequence, der(tagOID, idSigned), ber0(tagExplicit, ber0(tagSequence, der(2, "\x01"), der(tagSet),
		ber0(tagSequence, der(tagOID, idData), ber0(tagExplicit, pieceTree)), der(tagSet))))
)

var cases = []struct {
	name, in string
	want     []string
}{
	{"signed", signed(mail), []string{entity}},
	{"signed long", signed(strings.Repeat(mail, 100)), []string{"|" + Entity + "|" + strings.Repeat(mail, 100)}},
	{"signed in pieces", indefinite, []string{entity}},
	{"detached", info(idSigned, der(tagSequence, der(2, "\x01"), der(tagSet), der(tagSequence, der(tagOID, idData)), der(tagSet))), nil},
	{"data", info(idData, der(tagOctets, mail)), []string{entity}},
	{"digested", info(idDigested, der(tagSequence, der(2, "\x01"), der(tagSequence, der(tagOID, "\x2a")), info(idData, der(tagOctets, mail)))), []string{entity}},
	{
		"authenticated", info(idAuthenticated, der(tagSequence, der(2, "\x01"), der(tagSet), der(tagSequence, der(tagOID, "\x2a")), der(0xa1, der(tagOID, "\x2a")), info(idData, der(tagOctets, mail)))),
		[]string{entity},
	},
	{"nested", info(idSigned, der(tagSequence, der(2, "\x01"), der(tagSet), info(idSigned, der(tagOctets, der(tagSequence, der(2, "\x01"), der(tagSet), info(idData, der(tagOctets, mail))))))), []string{entity}},
	{"other type", info(idSigned, der(tagSequence, der(2, "\x01"), der(tagSet), info("\x2a\x03", der(tagOctets, mail)))), []string{"||" + mail}},
	{"other element", info(idSigned, der(tagSequence, der(2, "\x01"), der(tagSet), info("\x2a\x03", der(tagSequence, der(2, "\x05"))))), []string{"||0\x03\x02\x01\x05"}},
	{"compressed", compressedData(idZlib, deflated(mail)), []string{entity}},
	{"compressed otherwise", compressedData("\x2a", deflated(mail)), []string{"unreadable: CMS: it is compressed by the unknown method 2a"}},
	{"compressed badly", compressedData(idZlib, "what"), []string{"|" + Entity + "|", "unreadable: a file without a name: zlib: invalid header"}},
	{"enveloped", info(idEnveloped, der(tagSequence, der(2, "\x00"))), []string{smimeSign + "(EnvelopedData)"}},
	{"auth enveloped", info(idAuthEnveloped, der(tagSequence, der(2, "\x00"))), []string{smimeSign + "(AuthEnvelopedData)"}},
	{"encrypted", info(idEncrypted, der(tagSequence, der(2, "\x00"))), []string{smimeSign + "(EncryptedData)"}},
	{"enveloped in signed", info(idSigned, der(tagSequence, der(2, "\x01"), der(tagSet), info(idEnveloped, der(tagOctets, der(tagSequence, der(2, "\x01")))))), []string{smimeSign + "(EnvelopedData)"}},
	{"two", signed(mail) + signed("x"), []string{entity, "|" + Entity + "|x"}},
	{"two contents", der(tagSequence, der(tagOID, idData), der(tagExplicit, der(tagOctets, mail), der(tagOctets, "x"))), []string{entity, badASN}},
	{"blanks behind", signed(mail) + "\r\n\x00", []string{entity}},
	{"garbage behind", signed(mail) + "MZ", []string{entity, "unreadable: CMS: 2 octets behind it can't be read"}},
	{"cut", signed(mail)[:70], []string{"|" + Entity + "|" + mail[:len(mail)-5], "unreadable: a file without a name: it ends early"}},
	{"unknown type", info(pkcs7+"\x55", der(tagSequence)), []string{"unreadable: CMS: it is of the unknown type 2a864886f70d010755"}},
	{"no content", info(idSigned, der(tagSequence, der(2, "\x01"))), []string{badASN}},
	{"PEM", "Here:\n" + armoured("PKCS7", "", signed(mail)) + "\n" + armoured("CERTIFICATE", "", "x") + armoured("CMS", "", info(idEnveloped, der(tagSequence))), []string{entity, smimeSign + "(EnvelopedData)"}},
	{"base64", "\r\n" + stdbase64.StdEncoding.EncodeToString([]byte(signed(mail))), []string{entity}},
	{"nothing", "Hello.", []string{"unreadable: sealed: neither CMS nor OpenPGP nor AppleSingle"}},

	{"pgp", session + protected, []string{pgpSign}},
	{"pgp armoured", "Hello,\r\n" + armoured("PGP MESSAGE", "Version: x\nComment: y\n", session+protected) + "Bye", []string{pgpSign}},
	{"pgp part", armoured("PGP MESSAGE, PART 1/2", "", session+protected), []string{pgpSign}},
	{"pgp signed", armoured("PGP MESSAGE", "", onePass+literal("a.exe", "MZ")+signature), []string{"a.exe||MZ"}},
	{"pgp compressed", packet(packetCompressed, "\x01"+squeezed(literal("a", mail))), []string{"a||" + mail}},
	{"pgp zlib", packet(packetCompressed, "\x02"+deflated(onePass+literal("a", mail)+signature)), []string{"a||" + mail}},
	{"pgp old form", "\xa3\x01" + squeezed("\xac\x0ab\x00\x00\x00\x00\x00abcd"), []string{"||abcd"}},
	{"pgp pieces", "\xcb\xe3" + "b\x00\x00\x00\x00\x00ab" + "\xe1cd\x01e", []string{"||abcde"}},
	{"pgp unknown method", packet(packetCompressed, "\x09aaaaaaaaaaaaaa") + literal("a", "x"), []string{"unreadable: sealed: neither CMS nor OpenPGP nor AppleSingle"}},
	{"pgp unknown method armoured", armoured("PGP MESSAGE", "", packet(packetCompressed, "\x09aa")), []string{"unreadable: OpenPGP: it is compressed by the unknown method 9"}},
	{"pgp cut", literal("a", "abcdefgh")[:14], []string{"a||a", "unreadable: \"a\": unexpected EOF", "unreadable: OpenPGP: it ends early"}},
	{"pgp two blocks", armoured("PGP MESSAGE", "", literal("a", "x")) + armoured("PGP MESSAGE", "", literal("b", "y")), []string{"a||x", "b||y"}},
	{"pgp nothing", armoured("PGP MESSAGE", "", ""), []string{"unreadable: OpenPGP: there is no packet in it"}},
	{"pgp keys", armoured("PGP PUBLIC KEY BLOCK", "", "x") + "-----BEGIN PGP SIGNED MESSAGE-----\nHash: x\n\nHello.\n" + armoured("PGP SIGNATURE", "", signature), nil},
	{"pgp name", literal("_CONSOLE", "x"), []string{"||x"}},

	{"apple double", appleFile("\x00\x05\x16\x07", "\x03", "a.exe", "\x02", "fork"), []string{"unreadable: AppleDouble: its resource fork is none", "a.exe||fork"}},
	{"apple resources", appleFile("\x00\x05\x16\x07", "\x02", resourceFork), []string{"||" + resourceFork, "||MZ", "||x"}},
	{"apple without resources", appleFile("\x00\x05\x16\x07", "\x02", "\x00\x00\x00"), []string{"||\x00\x00\x00"}},
	{"apple single", appleFile("\x00\x05\x16\x00", "\x01", "MZ", "\x03", "a", "\x09", "finder", "\x02", "fork"), []string{"unreadable: AppleDouble: its resource fork is none", "a||MZ", "a||fork"}},
	{"apple cut", appleFile("\x00\x05\x16\x00", "\x01", "MZP")[:40], []string{"||MZ", "unreadable: AppleSingle: it ends early"}},
}

// resourceFork has two resources, and a map that says nothing.
var resourceFork = "\x00\x00\x00\x10\x00\x00\x00\x1b\x00\x00\x00\x0b\x00\x00\x00\x1e" + "\x00\x00\x00\x02MZ\x00\x00\x00\x01x" + strings.Repeat("m", 30)

func TestWalk(t *testing.T) {
	for _, c := range cases {
		var r recorder
		if err := Walk(context.Background(), archive.NewFile([]byte(c.in)), archive.NewBudget(archive.Limits{}, 1), &r); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, r.got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
}

func TestIs(t *testing.T) {
	for _, c := range cases {
		head := []byte(c.in)
		want := "cms"
		switch {
		case strings.HasPrefix(c.name, "pgp unknown method"), c.name == "nothing", c.name == "pgp keys":
			continue
		case strings.HasPrefix(c.name, "pgp"):
			want = "pgp"
		case strings.HasPrefix(c.name, "apple"):
			want = "apple"
		}
		if IsCMS(head) != (want == "cms") || IsPGP(head) != (want == "pgp") || IsApple(head) != (want == "apple") {
			t.Errorf("%s: %v %v %v", c.name, IsCMS(head), IsPGP(head), IsApple(head))
		}
	}
	for _, other := range []string{
		"", "\x30", "\x30\x80", "PK\x03\x04aaaaaaaaaaaa", "%PDF-1.4", "\xff\xd8\xff\xe0\x00\x10JFIF\x00", "\x89PNG\r\n\x1a\n", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1aaaa",
		"\xef\xbb\xbftext", "\xfe\xff\x00a\x00b", "\xc3\xa4\xc3\xb6\xc3\xbc", "-----BEGIN CERTIFICATE-----\n", "My words", " -----BEGIN PGP MESSAGE-----",
	} {
		if head := []byte(other); IsCMS(head) || IsPGP(head) || IsApple(head) {
			t.Errorf("%q: %v %v %v", other, IsCMS(head), IsPGP(head), IsApple(head))
		}
	}
}

func TestWalkLimits(t *testing.T) {
	deep := literal("a", "x")
	for range 20 {
		deep = packet(packetCompressed, "\x01"+squeezed(deep))
	}
	nested := ber0(0x24, der(tagOctets, "x"))
	for range 1000 {
		nested = ber0(0x24, nested)
	}
	wrapped := der(tagSequence, der(2, "\x01"), der(tagSet), info(idData, der(tagOctets, mail)))
	for range 20 {
		wrapped = der(tagSequence, der(2, "\x01"), der(tagSet), info(idSigned, der(tagOctets, wrapped)))
	}
	zeros := strings.Repeat("\x00", 4<<20)
	for _, c := range []struct{ name, in, want string }{
		{"deep", deep, "unreadable: OpenPGP: it is compressed too many times over"},
		{"bomb", packet(packetCompressed, "\x01"+squeezed(literal("a", zeros))), "bomb: more than 1048576 octets unpacked"},
		{"marker bomb", packet(packetCompressed, "\x01"+squeezed(packet(10, zeros)+literal("a", "x"))), "bomb: more than 1048576 octets unpacked"},
		{"zlib bomb", compressedData(idZlib, deflated(zeros)), "bomb: more than 1048576 octets unpacked"},
		{"pieces", info(idData, nested), "unreadable: CMS: its ASN.1 is nested too deeply"},
		{"wrapped", info(idSigned, wrapped), "unreadable: CMS: its ASN.1 is nested too deeply"},
		{"forks", appleFile("\x00\x05\x16\x00", "\x01", zeros[:1<<20], "\x02", "x"), "bomb: more than 1048576 octets unpacked"},
	} {
		var r recorder
		b := archive.NewBudget(archive.Limits{Octets: 1 << 20}, 1)
		if err := Walk(context.Background(), archive.NewFile([]byte(c.in)), b, &r); err != nil {
			t.Fatal(err)
		}
		if got := r.got[len(r.got)-1]; got != c.want {
			t.Errorf("%s: got %.200q", c.name, got)
		}
	}
}

type failing struct{ err error }

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off >= 4096 {
		return 0, f.err
	}
	return copy(p, signed(strings.Repeat("x", 1<<20))[off:4096]), nil
}

func TestWalkErrors(t *testing.T) {
	mine := errors.New("mine")
	for _, c := range cases {
		if len(c.want) == 0 {
			continue
		}
		if err := Walk(context.Background(), archive.NewFile([]byte(c.in)), archive.NewBudget(archive.Limits{}, 1), &recorder{err: mine}); err != mine {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := Walk(context.Background(), archive.FileAt(failing{mine}, 1<<20), archive.NewBudget(archive.Limits{}, 1), &recorder{}); err != mine {
		t.Error(err)
	}
	if err := Walk(context.Background(), archive.FileAt(failing{io.ErrUnexpectedEOF}, 1<<20), archive.NewBudget(archive.Limits{}, 1), &recorder{}); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Walk(ctx, archive.NewFile([]byte(signed(mail))), archive.NewBudget(archive.Limits{}, 1), &recorder{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzWalk(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b := archive.NewBudget(archive.Limits{Octets: 1 << 20, Files: 50}, int64(len(in)))
		var r recorder
		if err := Walk(context.Background(), archive.NewFile(in), b, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.got) > 50+17 {
			t.Fatal(len(r.got))
		}
		IsCMS(in)
		IsPGP(in)
		IsApple(in)
	})
}
