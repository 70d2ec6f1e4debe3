package office_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/office"
	"github.com/postern-mail/postern/internal/archive/ole/oletest"
)

const types = `<?xml version="1.0" encoding="UTF-8"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>`

// ooxml makes a document of pairs of a name and content.
func ooxml(t testing.TB, parts ...string) []byte {
	return zipped(t, append([]string{"[Content_Types].xml", types}, parts...)...)
}

func zipped(t testing.TB, parts ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		w, err := z.Create(parts[i])
		if err == nil {
			_, err = w.Write([]byte(parts[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// body makes the text of a document of Word.
func body(text string) string {
	return `<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p>` + text + `</w:p></w:body></w:document>`
}

// rel makes a file of one relationship.
func rel(kind, target, mode string) string {
	return `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/` +
		kind + `" Target="` + target + `" TargetMode="` + mode + `"/></Relationships>`
}

func vbaProject(source string) string {
	return string(compound(oletest.VBA(oletest.Module{Name: "A", Source: source}), oletest.Node{Name: "PROJECT", Data: []byte("ID=x")}))
}

func TestWordParts(t *testing.T) {
	const begin, separate, end = `<w:r><w:fldChar w:fldCharType="begin"/></w:r>`, `<w:r><w:fldChar w:fldCharType="separate"/></w:r>`, `<w:r><w:fldChar w:fldCharType="end"/></w:r>`
	instr := func(s string) string { return `<w:r><w:instrText xml:space="preserve">` + s + `</w:instrText></w:r>` }
	for _, c := range []struct {
		name, text string
		signs      []string
	}{
		{"no field", `<w:r><w:t>DDEAUTO is no field</w:t></w:r>`, nil},
		{"fields", begin + instr(" PAGE ") + separate + `<w:r><w:t>1</w:t></w:r>` + end + `<w:fldSimple w:instr=" HYPERLINK &quot;http://a&quot; "/>`, nil},
		{"DDE", begin + instr("DDEAUTO cmd") + end, []string{"macro_auto: a field starts"}},
		{"in pieces", begin + instr("DD") + `<w:r><w:t>x</w:t></w:r>` + instr("E") + instr("AUTO cmd") + end, []string{"macro_auto"}},
		{"simple", `<w:fldSimple w:instr="dde&#32;cmd"/>`, []string{"macro_auto"}},
		{"simple with two attributes", `<w:fldSimple x:instr="PAGE" w:instr="DDE cmd"/>`, []string{"macro_auto"}},
		{"with another prefix", strings.ReplaceAll(begin+instr("DDE cmd")+end, "w:", "q:"), []string{"macro_auto"}},
		{"in a section of characters", begin + instr("<![CDATA[DDE cmd]]>") + end, []string{"macro_auto"}},
		{"by references", begin + instr("&#68;&#x44;&#69; cmd") + end, []string{"macro_auto"}},
		{"by a field within", begin + begin + instr("QUOTE 68 68 69") + separate + `<w:r><w:t>x</w:t></w:r>` + end + instr(" cmd") + end, []string{"macro_auto"}},
		{"after much space", begin + instr(strings.Repeat(" ", 70000)+"DDE") + instr(" cmd") + end, []string{"macro_auto"}},
		{"without an end", begin + instr("DDE cmd"), []string{"macro_auto"}},
		{"loaded", begin + instr(`INCLUDETEXT "http://a/b" `) + end, []string{"macro_auto: a field loads"}},
		{"a tag without an end", `<w:x attr="`, []string{"unreadable"}},
	} {
		expect(t, c.name, run(t, office.WalkZip, ooxml(t, "word/document.xml", body(c.text))), c.signs)
		expect(t, c.name+", in a footnote in UTF-16", run(t, office.WalkZip, ooxml(t, "word/footnotes.xml", "\xff\xfe"+string(wide(body(c.text))))), c.signs)
	}
	for name, text := range map[string]string{
		"UTF-7":    `<?xml version="1.0" encoding="UTF-7"?>` + body(""),
		"UTF-32":   "\x00\x00\x00<\x00\x00\x00a",
		"entities": `<!DOCTYPE a [<!ENTITY x "DDE cmd">]>` + body(""),
	} {
		if s := run(t, office.WalkZip, ooxml(t, "word/document.xml", text)); s.kinds() != "unreadable" && name != "UTF-32" {
			t.Errorf("%s: %v", name, s.signs)
		}
	}
}

func TestRelations(t *testing.T) {
	for _, c := range []struct {
		kind, target, mode string
		bad                bool
	}{
		{"attachedTemplate", "http://host/x.dotm", "External", true},
		{"attachedTemplate", "file://host/share/x.dotm", "External", true},
		{"attachedTemplate", `file:///\\host\share\x.dotm`, "External", true},
		{"attachedTemplate", `\\host\share\x.dotm`, "External", true},
		{"attachedTemplate", `//host/share/x.dotm`, "external", true},
		{"attachedTemplate", `file:///C:\Users\x\Templates\x.dotx`, "External", false},
		{"attachedTemplate", `file://C:/x.dotx`, "External", false},
		{"attachedTemplate", `Normal.dotm`, "External", false},
		{"oleObject", "https://host/x.doc", "External", true},
		{"oleObject", "mhtml:https://host/x.html!x-usc:https://host/x.html", "External", true},
		{"oleObject", "embeddings/oleObject1.bin", "Internal", false},
		{"frame", "https://host/x.doc", "External", true},
		{"subDocument", "https://host/x.doc", "External", true},
		{"hyperlink", "https://host/x.doc", "External", false},
		{"hyperlink", "mailto:a@example.org", "External", false},
		{"hyperlink", "ms-msdt:/id x", "External", true},
		{"image", "https://host/x.png", "External", false},
		{"vbaProject", "http://host/vbaProject.bin", "External", true},
	} {
		s := run(t, office.WalkZip, ooxml(t, "word/_rels/settings.xml.rels", rel(c.kind, c.target, c.mode)))
		if got := s.kinds(); got != "" && !c.bad || got != "macro_auto" && c.bad {
			t.Errorf("%s %s: %v", c.kind, c.target, s.signs)
		}
	}
}

func TestParts(t *testing.T) {
	wideName := func(s string) string { return string([]byte{byte(len(s)), 0, 0, 0}) + string(wide(s)) }
	dde := "\x01\x00" + wideName("cmd") + wideName("/c x")
	for _, c := range []struct {
		name, part, content string
		signs               []string
		files               []string
	}{
		{"macros", "word/vbaProject.bin", vbaProject("Sub AutoOpen()"), []string{"macro_auto: the macro AutoOpen"}, nil},
		{"macros by another name", "word/media/image1.png", vbaProject("Sub Workbook_Open()"), []string{"macro_auto"}, nil},
		{"macros that somebody must start", "xl/vbaProject.bin", vbaProject("Sub Tidy()"), []string{"macro: "}, nil},
		{"no macros", "xl/vbaProject.bin", vbaProject("Attribute VB_Name = \"A\""), nil, nil},
		{"damaged macros", "xl/vbaProject.bin", "xyz", []string{"unreadable"}, []string{"xl/vbaProject.bin"}},
		{"a macro sheet", "xl/macrosheets/sheet1.xml", `<xm:macrosheet xmlns:xm="x"/>`, []string{"macro_auto"}, nil},
		{"its relationship", "xl/_rels/workbook.xml.rels", rel("xlMacrosheet", "x.xml", ""), []string{"macro_auto"}, nil},
		{"its type", "x/[Content_Types].xml", `<Types><Override PartName="/x.bin" ContentType="application/vnd.ms-excel.intlmacrosheet"/></Types>`, []string{"macro_auto"}, []string{"x/[Content_Types].xml"}},
		{"Auto_Open", "xl/workbook.xml", `<workbook><definedNames><definedName name="_xlnm.Auto_Open" hidden="1">x!$A$1</definedName></definedNames></workbook>`, []string{"macro_auto"}, nil},
		{"DDE", "xl/externalLinks/externalLink1.xml", `<externalLink><ddeLink ddeService="cmd" ddeTopic="/c x"/></externalLink>`, []string{"macro_auto"}, nil},
		{"after much space", "xl/workbook.xml", strings.Repeat("\n", 9000) + `<workbook><definedName name="_xlnm.Auto_Open"/></workbook>`, []string{"macro_auto"}, nil},
		{"DDE in a formula", "xl/worksheets/sheet1.xml", `<worksheet><c><f>1+cmd|'/c x'!A1</f></c></worksheet>`, []string{"macro_auto"}, nil},
		{"a formula", "xl/worksheets/sheet1.xml", `<worksheet><c><f>IF(A1="a|b!",1,Sheet2!A1)</f></c></worksheet>`, nil, nil},
		{"a binary workbook", "xl/workbook.bin", "\x83\x01\x00\x9c\x01\x02xx\x84\x01\x00", nil, nil},
		{"Auto_Open in one", "xl/workbook.bin", "\x83\x01\x00\x27\x1f\x00\x00\x00\x00\x00\x00\x00\x00\x00" + wideName("Auto_Open"), []string{"macro_auto"}, nil},
		{"DDE in one", "xl/externalLinks/externalLink1.bin", "\xe8\x02" + string(rune(len(dde))) + dde, []string{"macro_auto: xl/externalLinks/externalLink1.bin starts"}, nil},
		{"DDE by another name", "a.dat", "\xe8\x02" + string(rune(len(dde))) + dde, []string{"macro_auto: a.dat starts"}, []string{"a.dat"}},
		{"a binary part cut short", "xl/workbook.bin", "\x83\x01\x10\x00", []string{"unreadable"}, nil},
		{"a program", "ppt/slides/slide1.xml", `<p:sld><a:hlinkMouseOver r:id="" action="ppaction://program"/></p:sld>`, []string{"macro_auto"}, nil},
		{"a jump", "ppt/slides/slide1.xml", `<p:sld><a:hlinkClick r:id="" action="ppaction://hlinksldjump"/></p:sld>`, nil, nil},
		{"a ribbon", "customUI/customUI.xml", `<customUI onLoad="Start"/>`, nil, nil},
		{"a ribbon of elsewhere", "customUI/customUI.xml", `<customUI onLoad="http://host/x!Start"/>`, []string{"macro_auto"}, nil},
		{"a template of Word 2003", "x.xml", `<w:wordDocument><w:attachedTemplate w:val="http://host/x"/></w:wordDocument>`, []string{"macro_auto"}, nil},
		{"another format", "x.xml", `<calendar><event-listener event-name="x" href="http://host/x"/><object href="http://host/x"/></calendar>`, nil, nil},
		{"a control", "word/activeX/activeX1.xml", `<ax:ocx ax:classid="{8856F961-340A-11D0-A96B-00C04FD705A2}"/>`, []string{"macro_auto"}, nil},
		{"a button", "word/activeX/activeX1.xml", `<ax:ocx ax:classid="{D7053240-CE69-11CD-A777-00DD01143C57}"/>`, nil, nil},
		{"a picture", "word/media/image1.png", "\x89PNG", nil, []string{"word/media/image1.png"}},
		{"an object", "word/embeddings/oleObject1.bin", string(compound()), nil, []string{"oleObject1.bin="}},
		{"a page", "word/afchunk.xml", `<html><script/></html>`, nil, []string{"word/afchunk.xml"}},
		{"a script", "run.wsf", `<job/>`, nil, []string{"run.wsf"}},
		{"a text elsewhere", "other/a.xml", `<a/>`, nil, []string{"other/a.xml"}},
	} {
		expect(t, c.name, run(t, office.WalkZip, ooxml(t, c.part, c.content)), c.signs, c.files...)
	}
}

func TestODF(t *testing.T) {
	const manifest = `<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"><manifest:file-entry manifest:full-path="content.xml"/></manifest:manifest>`
	listener := func(event string) string {
		return `<office:document-content><office:event-listeners><script:event-listener script:language="ooo:script" script:event-name="` + event + `" xlink:href="vnd.sun.star.script:Standard.A.Main?language=Basic&amp;location=document"/></office:event-listeners></office:document-content>`
	}
	module := func(text string) string { return `<script:module script:name="A">` + text + `</script:module>` }
	for _, c := range []struct {
		name, part, content string
		signs               []string
		files               []string
	}{
		{"text", "content.xml", `<office:document-content><text:p>a</text:p></office:document-content>`, nil, nil},
		{"an empty module", "Basic/Standard/Module1.xml", module("REM  *****  BASIC  *****\n\nSub Main\n\nEnd Sub\n"), nil, nil},
		{"a module", "Basic/Standard/Module1.xml", module("Sub Main\nMsgBox 1\nEnd Sub"), []string{"macro: there are macros in"}, nil},
		{"a long comment", "Basic/Standard/Module1.xml", module(strings.Repeat("REM a comment\n", 10000)), nil, nil},
		{"a module after a long comment", "Basic/Standard/Module1.xml", module(strings.Repeat("REM a comment\n", 10000) + "MsgBox 1"), []string{"macro: "}, nil},
		{"a module of Office", "Basic/VBAProject/A.xml", module("Rem Attribute VBA_ModuleType=VBADocumentModule\nOption VBASupport 1\nSub Workbook_Open()\nEnd Sub"), []string{"macro_auto: "}, nil},
		{"on loading", "content.xml", listener("dom:load"), []string{"macro_auto: "}, nil},
		{"when pointed at", "content.xml", listener("dom:mouseover"), []string{"macro_auto: "}, nil},
		{"on a click", "content.xml", listener("dom:click"), []string{"macro: "}, nil},
		{"a script", "Scripts/python/a.py", "import os", []string{"macro: there is a script"}, []string{"Scripts/python/a.py"}},
		{"DDE", "content.xml", `<office:document><text:dde-connection-decl office:dde-application="cmd" office:dde-topic="x" office:dde-item="y"/></a>`, []string{"macro_auto"}, nil},
		{"DDE in a formula", "content.xml", `<office:document><table:table-cell table:formula="of:=1+DDE(&quot;cmd&quot;;&quot;x&quot;)"/></a>`, []string{"macro_auto"}, nil},
		{"DDE of Word", "content.xml", `<office:document><field:param field:name="vnd.oasis.opendocument.field.code" field:value="DDE cmd"/></office:document>`, []string{"macro_auto"}, nil},
		{"a frame", "content.xml", `<office:document><draw:floating-frame xlink:href="http://host/x"/></a>`, []string{"macro_auto"}, nil},
		{"an object of its own", "content.xml", `<office:document><draw:object xlink:href="./Object 1"/></a>`, nil, nil},
	} {
		expect(t, c.name, run(t, office.WalkZip, zipped(t, "mimetype", "application/vnd.oasis.opendocument.text", c.part, c.content, "META-INF/manifest.xml", manifest)), c.signs, c.files...)
	}
	cipher := strings.Replace(manifest, `"content.xml"/>`, `"content.xml"><manifest:encryption-data/></manifest:file-entry>`, 1)
	expect(t, "encrypted", run(t, office.WalkZip, zipped(t, "content.xml", "\x01\x02", "META-INF/manifest.xml", cipher)), []string{"encrypted: "}, "content.xml")
}

// activeMime packs a compound file as Word does.
func activeMime(in []byte) []byte {
	head := make([]byte, 0x32)
	copy(head, "ActiveMime\x00\x00\x01\xf0\x04")
	head[0x1e] = 4
	return append(head, packed(in)[4:]...)
}

func TestFlat(t *testing.T) {
	mso := activeMime([]byte(vbaProject("Sub AutoOpen()")))
	expect(t, "ActiveMime", run(t, office.WalkActiveMime, mso), []string{"macro_auto"})
	expect(t, "damaged ActiveMime", run(t, office.WalkActiveMime, mso[:80]), []string{"unreadable"})
	b64 := base64.StdEncoding.EncodeToString
	word := func(inner string) []byte {
		return []byte(`<?xml version="1.0"?><?mso-application progid="Word.Document"?><w:wordDocument>` + inner + `</w:wordDocument>`)
	}
	lines := strings.Join(strings.SplitAfter(b64(mso), "A"), "\r\n ")
	expect(t, "Word 2003", run(t, office.WalkXML, word(`<w:docSuppData><w:binData w:name="editdata.mso">`+lines+`</w:binData></w:docSuppData>`)), []string{"macro_auto"})
	expect(t, "by references", run(t, office.WalkXML, word(`<w:binData w:name="x">`+strings.ReplaceAll(b64(mso), "A", "&#65;")+`</w:binData>`)), []string{"macro_auto"})
	expect(t, "a picture", run(t, office.WalkXML, word(`<w:binData w:name="wordml://1.png">`+b64([]byte("\x89PNG"))+`</w:binData>`)), nil, `wordml://1.png="\x89PNG"`)
	expect(t, "DDE", run(t, office.WalkXML, word(`<w:fldSimple w:instr="DDE cmd"/>`)), []string{"macro_auto"})
	expect(t, "no base64", run(t, office.WalkXML, word(`<w:binData w:name="x">A</w:binData>`)), []string{"unreadable"}, "x=")
	flat := []byte(`<pkg:package xmlns:pkg="http://schemas.microsoft.com/office/2006/xmlPackage"><pkg:part pkg:name="/word/vbaProject.bin"><pkg:binaryData>` +
		b64([]byte(vbaProject("Sub AutoOpen()"))) + `</pkg:binaryData></pkg:part><pkg:part pkg:name="/_rels"><pkg:xmlData>` + rel("attachedTemplate", "http://host/x", "External") + `</pkg:xmlData></pkg:part></pkg:package>`)
	expect(t, "a package", run(t, office.WalkXML, flat), []string{"macro_auto: the macro", "macro_auto: the template"})
	for _, in := range [][]byte{word(""), flat, []byte("\xff\xfe" + string(wide(string(flat))))} {
		if !office.IsXML(in[:min(len(in), 300)]) {
			t.Errorf("not seen: %.80q", in)
		}
	}
	if office.IsXML([]byte("<html>")) || office.IsXML([]byte("word")) {
		t.Error("seen where there is none")
	}
	page := "MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=x\r\n\r\n--x\r\n\r\n" + lines + "\r\n--x--\r\n"
	expect(t, "MHTML", run(t, office.WalkMHTML, []byte(page)), []string{"macro_auto"})
	expect(t, "MHTML without", run(t, office.WalkMHTML, []byte("QWN0aXZl")), nil)
	hidden := strings.Repeat("QWN0aXZlTWltZQ==!", 100)
	if s := run(t, office.WalkMHTML, []byte(hidden)); s.kinds() != "unreadable" {
		t.Errorf("%v", s.signs)
	}
}

// A document of many signs says few, and one that costs too much says so.
func TestLimits(t *testing.T) {
	s := run(t, office.WalkZip, ooxml(t, "word/document.xml", body(strings.Repeat(`<w:fldSimple w:instr="DDE cmd"/>`, 5000))))
	if len(s.signs) != 1 {
		t.Errorf("%d signs", len(s.signs))
	}
	bomb := ooxml(t, "word/document.xml", body(strings.Repeat(" ", 3<<20)))
	if s := runWith(t, office.WalkZip, bomb, archive.Limits{Octets: 1 << 20}); s.kinds() != "bomb" {
		t.Errorf("%v", s.signs)
	}
	nested := strings.Repeat(`<w:fldChar w:fldCharType="begin"/>`, 100000)
	if s := run(t, office.WalkZip, ooxml(t, "word/document.xml", body(nested))); s.kinds() != "unreadable" {
		t.Errorf("%v", s.signs)
	}
	huge := run(t, office.WalkZip, ooxml(t, "word/document.xml", `<w:document a="`+strings.Repeat("x", 9<<20)+`"/>`))
	if huge.kinds() != "unreadable" {
		t.Errorf("%v", huge.signs)
	}
	many := []string{}
	for range 50 {
		many = append(many, "word/media/a.png", "x")
	}
	if s := runWith(t, office.WalkZip, ooxml(t, many...), archive.Limits{Files: 10}); !strings.Contains(s.kinds(), "bomb") {
		t.Errorf("%v", s.signs)
	}
}

func FuzzPart(f *testing.F) {
	f.Add("word/document.xml", []byte(body(`<w:fldSimple w:instr="DDE cmd"/><w:fldChar w:fldCharType="begin"/><![CDATA[x]]><!-- x -->`)))
	f.Add("xl/workbook.bin", []byte("\x83\x01\x00\x27\x1f\x00\x00"))
	f.Add("_rels/.rels", []byte(rel("oleObject", "http://x", "External")))
	f.Add("a.mso", activeMime(compound()))
	f.Add("content.xml", []byte(`<office:document><table:table-cell table:formula="of:=DDE("/></a>`))
	f.Fuzz(func(t *testing.T, name string, in []byte) {
		l := archive.Limits{Octets: 1 << 20, Files: 100}
		runWith(t, office.WalkZip, ooxml(t, strings.TrimRight(name, "/"), string(in)), l)
		runWith(t, office.WalkActiveMime, in, l)
		runWith(t, office.WalkMHTML, in, l)
	})
}

func FuzzXML(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><w:wordDocument><w:binData w:name="x">QWN0aXZlTWltZQ==</w:binData><w:t/></w:wordDocument>`))
	f.Add(wide(`<a b="c"/>`))
	f.Fuzz(func(t *testing.T, in []byte) {
		runWith(t, office.WalkXML, in, archive.Limits{Octets: 1 << 20, Files: 100})
	})
}
