// Package eval holds the functions that rules call by name (eval: in a .cf file): each looks at a message in a way that
// no pattern can. It knows nothing of rules, scores or the syntax of .cf files, and asks nobody over the network.
//
// The functions answer as those of SpamAssassin 4.0.1 with the same names do, bit for bit where that is known; the
// code and its tests are our own.
package eval

import (
	"fmt"
	"strconv"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/rules/text"
)

// Mail is one message that rules are run over. It is safe for concurrent use as long as its fields are not changed.
type Mail struct {
	Text *text.Message
	// DNS answers the rules that ask the network; without it none of them hits.
	DNS filter.Resolver
	// In holds what other filters have found (SPF, DKIM, DMARC …), by the keys of filter/auth. It may be nil.
	In *filter.Input

	mime   once[*structure]
	facts  once[*mimeFacts]
	images once[*imageFacts]
	pairs  once[alternatives]
	heads  headFacts // of the header fields

	claimed  once[*claims]
	written  once[*prose]
	attached once[[]file]
}

// Forget drops what was made of the message: whoever asks for it again has it made anew. Nobody else may use m meanwhile.
func (m *Mail) Forget() { *m = Mail{Text: m.Text.Fresh(), DNS: m.DNS, In: m.In} }

// structure gives the MIME structure as SpamAssassin reads it.
func (m *Mail) structure() *structure {
	return m.mime.get(func() *structure { return readStructure(m.Text.Full()) })
}

// Function is an eval function, as a rule names it.
type Function struct {
	Name string
	// Compile prepares a call with the arguments that stand in the rule, unquoted. It is called once all settings are
	// known. The error says what is wrong with the arguments, or what the settings lack.
	Compile func(s *Settings, args []string) (Check, error)
}

// Check carries out a call. The value is what the function answers: 0 for no, and where it counts something that number.
// The detail says what it saw, for people; it may be empty and may stem from the message. A Check is safe for concurrent
// use, and no message makes it panic or run longer than is linear in the message's size.
type Check func(m *Mail) (value int, detail string)

// tables lists the functions of each file.
var tables = [][]Function{
	authFunctions,
	bodyFunctions,
	bounceFunctions,
	freemailFunctions,
	headerFunctions,
	htmlFunctions,
	imageFunctions,
	listFunctions,
	mimeFunctions,
	netFunctions,
	relayFunctions,
	spoofFunctions,
	uriFunctions,
}

// Functions gives all functions by name.
func Functions() map[string]Function {
	all := map[string]Function{}
	for _, table := range tables {
		for _, f := range table {
			all[f.Name] = f
		}
	}
	return all
}

// RawBody gives, by name, the functions that do something else where a rule of the kind rawbody calls them.
func RawBody() map[string]Function {
	return map[string]Function{
		"image_to_text_ratio": {"image_to_text_ratio", imageToText((*text.Message).RawBody)},
	}
}

// yes is the answer of a function that says yes or no.
func yes(b bool, detail string) (int, string) {
	if b {
		return 1, detail
	}
	return 0, ""
}

// plain makes a Function without arguments.
func plain(name string, check Check) Function {
	return Function{name, func(_ *Settings, args []string) (Check, error) {
		if err := atMost(name, args, 0); err != nil {
			return nil, err
		}
		return check, nil
	}}
}

// atMost refuses more arguments than a function reads.
func atMost(name string, args []string, most int) error {
	if len(args) > most {
		return fmt.Errorf("eval: %s takes at most %d arguments, not %d", name, most, len(args))
	}
	return nil
}

// number reads the argument at i; an absent or empty one is missing.
func number(name string, args []string, i int, missing float64) (float64, error) {
	if i >= len(args) || args[i] == "" {
		return missing, nil
	}
	f, err := strconv.ParseFloat(args[i], 64)
	if err != nil {
		return 0, fmt.Errorf("eval: argument %d of %s is not a number: %q", i+1, name, args[i])
	}
	return f, nil
}
