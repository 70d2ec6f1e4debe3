package mail

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
)

// Reports and records hold edits in this form: a change here is a change of a format.
func TestEditForms(t *testing.T) {
	tests := []struct {
		edit       Edit
		text, json string
	}{
		{AddField{"X-A", "b"}, "add field X-A", `{"op":"add_field","name":"X-A","body":"b"}`},
		{RemoveField{3}, "remove field 3", `{"op":"remove_field","index":3}`},
		{ReplaceField{3, "b"}, "replace field 3", `{"op":"replace_field","index":3,"body":"b"}`},
		{RemovePart{"2.1"}, "remove part 2.1", `{"op":"remove_part","path":"2.1"}`},
		{
			ReplacePart{"2.1", []AddField{{"Content-Type", "text/plain"}}, []byte("x\r\n")},
			"replace part 2.1",
			`{"op":"replace_part","path":"2.1","header":[{"name":"Content-Type","body":"text/plain"}],"body":"x\r\n"}`,
		},
		{
			AnnotatePart{"1", []AddField{{"Content-Type", "text/plain"}}, []byte("x\r\n")},
			"annotate part 1",
			`{"op":"annotate_part","path":"1","header":[{"name":"Content-Type","body":"text/plain"}],"body":"x\r\n"}`,
		},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			if got := fmt.Sprint(test.edit); got != test.text {
				t.Errorf("got %q", got)
			}
			got, err := json.Marshal([]Edit{test.edit})
			if err != nil || string(got) != "["+test.json+"]" {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func ExampleRewrite() {
	c := NewContent(NewBlob([]byte("From: a@example.org\r\nSubject: offer\r\n\r\nBuy!\r\n")), LineFaults{}, Limits{})
	defer c.Release()
	m, err := Rewrite(c, []Edit{AddField{"X-Spam-Flag", "YES"}, ReplaceField{1, "[spam] offer"}}, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Release()
	text, err := io.ReadAll(m.Open())
	fmt.Print(strings.ReplaceAll(string(text), "\r\n", "\n"), err)
	// Output:
	// X-Spam-Flag: YES
	// From: a@example.org
	// Subject: [spam] offer
	//
	// Buy!
	// <nil>
}

func TestHeader(t *testing.T) {
	const raw = "A: 1\r\nb :\t2\r\n 3\r\n\t\r\nno field\r\na: \r\nÄ: 4\r\nA b: 5\r\n: 6\r\n\r\nA: body\r\n"
	c := NewContent(NewBlob([]byte(raw)), LineFaults{}, Limits{})
	defer c.Release()
	h := c.Header()
	type row struct {
		name, body string
		offset     int64
	}
	want := []row{{"A", "1", 0}, {"b", "2 3", 6}, {"", "no field", 20}, {"a", "", 30}, {"", "Ä: 4", 35}, {"", "A b: 5", 42}, {"", ": 6", 50}}
	var got []row
	for _, f := range h.Fields() {
		got = append(got, row{f.Name, f.Body(), f.Offset})
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if h.Get("B") != "2 3" || h.Get("a") != "1" || h.Get("x") != "" || h.Count("a") != 2 || len(h.All("A")) != 2 || h.Octets() != 57 || h.Truncated() {
		t.Errorf("%q %d %d", h.Get("B"), h.Count("a"), h.Octets())
	}
	if (Field{Name: "\u212aey"}).Is("key") {
		t.Error("the Kelvin sign is a k")
	}
}
