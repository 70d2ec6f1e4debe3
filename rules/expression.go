package rules

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Expressions of metas and ifs are Perl's, of numbers and names: they are compiled into code for a machine with a stack, so that the
// thousand metas of a message cost some microseconds and no allocation. && and || give one of their operands, as in Perl, and jump
// over the other.

// operation is what an instruction does.
type operation uint8

const (
	opNumber operation = iota // push number
	opRule                    // push what rule arg hit
	opNot
	opNegate
	opMultiply
	opDivide
	opAdd
	opSubtract
	opLess
	opGreater
	opLessEqual
	opGreaterEqual
	opEqual
	opUnequal
	opXor
	opAnd      // where the top is false go to arg, else drop it
	opOr       // where the top is true go to arg, else drop it
	opQuestion // drop the top; where it was false go to arg
	opJump     // go to arg
	opChain    // compare as the operation in number: where it holds keep the second, for what comes next, else push 0 and go to arg
)

// instruction is one step of an expression.
type instruction struct {
	op     operation
	arg    int32
	number float64
}

// Bounds of one expression.
const (
	maxTokens = 20_000
	maxNested = 100 // parentheses and operands within one another
)

// operators gives the binary operators, with their precedence: the higher binds the closer (perlop).
var operators = map[string]struct {
	op    operation
	level int
}{
	"*": {opMultiply, 7}, "/": {opDivide, 7},
	"+": {opAdd, 6}, "-": {opSubtract, 6},
	"<": {opLess, 5}, ">": {opGreater, 5}, "<=": {opLessEqual, 5}, ">=": {opGreaterEqual, 5},
	"==": {opEqual, 4}, "!=": {opUnequal, 4},
	"^":  {opXor, 3},
	"&&": {opAnd, 2},
	"||": {opOr, 1},
}

// tokens takes an expression apart. What belongs to no token is passed over, as SpamAssassin does, and counted.
func tokens(s string) (all []string, strange int) {
	for i := 0; i < len(s); {
		n := tokenLength(s[i:])
		if n == 0 {
			if !isSpace(s[i]) {
				strange++
			}
			i++
			continue
		}
		if len(all) <= maxTokens {
			all = append(all, s[i:i+n])
		}
		i += n
	}
	return all, strange
}

func tokenLength(s string) int {
	in := func(member func(byte) bool) int {
		n := 0
		for n < len(s) && member(s[n]) {
			n++
		}
		return n
	}
	c := s[0]
	switch {
	case isNumeric(c):
		return in(isNumeric)
	case isWord(c):
		return in(func(c byte) bool { return isWord(c) || c == ':' })
	}
	if len(s) > 1 {
		switch s[:2] {
		case "||", "&&", ">=", "<=", "==", "!=":
			return 2
		}
	}
	switch c {
	case '(', ')', '^', '!', '>', '<', '*', '/', '?', ':':
		return 1
	}
	return 0
}

func isNumeric(c byte) bool { return c == '-' || c == '+' || c == '.' || '0' <= c && c <= '9' }

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// compiler turns tokens into code.
type compiler struct {
	tokens  []string
	at      int
	code    []instruction
	nested  int
	negated bool // what is compiled stands behind an odd number of "!"
	// name compiles a name; the tokens behind it may be taken too.
	name func(c *compiler, name string) error
}

var (
	errEnds   = errors.New("it ends too early")
	errNested = fmt.Errorf("more than %d operands are nested", maxNested)
)

// compile compiles a whole expression.
func (c *compiler) compile() ([]instruction, error) {
	if len(c.tokens) > maxTokens {
		return nil, fmt.Errorf("more than %d words and signs", maxTokens)
	}
	if err := c.ternary(); err != nil {
		return nil, err
	}
	if c.at < len(c.tokens) {
		return nil, fmt.Errorf("an operator is missing before %q", cut(c.tokens[c.at], 40))
	}
	return c.code, nil
}

func (c *compiler) peek() string {
	if c.at < len(c.tokens) {
		return c.tokens[c.at]
	}
	return ""
}

func (c *compiler) emit(op operation, arg int) int {
	c.code = append(c.code, instruction{op: op, arg: int32(arg)}) //nolint:gosec // at most maxRules or maxTokens
	return len(c.code) - 1
}

// land lets the jump at i go to the instruction that comes next.
func (c *compiler) land(i int) { c.code[i].arg = int32(len(c.code)) } //nolint:gosec // at most a few times maxTokens

func (c *compiler) number(f float64) { c.code = append(c.code, instruction{op: opNumber, number: f}) }

// ternary compiles "a ? b : c" and whatever binds closer.
func (c *compiler) ternary() error {
	if c.nested++; c.nested > maxNested {
		return errNested
	}
	defer func() { c.nested-- }()
	if err := c.binary(1); err != nil {
		return err
	}
	if c.peek() != "?" {
		return nil
	}
	c.at++
	otherwise := c.emit(opQuestion, 0)
	if err := c.ternary(); err != nil {
		return err
	}
	if c.peek() != ":" {
		return errors.New("a ? has no : behind it")
	}
	c.at++
	end := c.emit(opJump, 0)
	c.land(otherwise)
	if err := c.ternary(); err != nil {
		return err
	}
	c.land(end)
	return nil
}

// binary compiles operators of a level and above.
func (c *compiler) binary(level int) error {
	if level > 7 {
		return c.unary()
	}
	if err := c.binary(level + 1); err != nil {
		return err
	}
	var chain []int // jumps out of a chain of comparisons
	defer func() {
		for _, i := range chain {
			c.land(i)
		}
	}()
	for {
		o, ok := operators[c.peek()]
		if !ok || o.level != level {
			return nil
		}
		c.at++
		jump := -1
		if o.op == opAnd || o.op == opOr {
			jump = c.emit(o.op, 0)
		}
		if err := c.binary(level + 1); err != nil {
			return err
		}
		switch next := operators[c.peek()]; {
		case jump >= 0:
			c.land(jump)
		case (level == 4 || level == 5) && next.level == level: // a < b < c is a < b && b < c
			i := c.emit(opChain, 0)
			c.code[i].number = float64(o.op)
			chain = append(chain, i)
		default:
			c.emit(o.op, 0)
		}
	}
}

// unary compiles an operand with what stands before it.
func (c *compiler) unary() error {
	if c.nested++; c.nested > maxNested {
		return errNested
	}
	defer func() { c.nested-- }()
	t := c.peek()
	c.at++
	switch {
	case t == "":
		return errEnds
	case t == "!" || t == "-" || t == "+":
		c.negated = c.negated != (t == "!")
		if err := c.unary(); err != nil {
			return err
		}
		c.negated = c.negated != (t == "!")
		switch t {
		case "!":
			c.emit(opNot, 0)
		case "-":
			c.emit(opNegate, 0)
		}
	case t == "(":
		if err := c.ternary(); err != nil {
			return err
		}
		if c.peek() != ")" {
			return errors.New("a ( has no ) behind it")
		}
		c.at++
	case isWord(t[0]) && (t[0] < '0' || t[0] > '9'):
		return c.name(c, t)
	default:
		f, err := strconv.ParseFloat(t, 64)
		if err != nil || t[0] < '0' || t[0] > '9' || t[len(t)-1] == '.' {
			return fmt.Errorf("%q is neither a name nor a number (a sign needs a blank behind it)", cut(t, 40))
		}
		c.number(f)
	}
	return nil
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// value runs code over what rules have hit. divided tells that there was a division by zero: then the result means nothing.
func value(code []instruction, hits []float64) (result float64, divided bool) {
	var room [16]float64
	stack := room[:0]
	for i := 0; i < len(code); i++ {
		in := &code[i]
		switch in.op {
		case opNumber:
			stack = append(stack, in.number)
			continue
		case opRule:
			stack = append(stack, hits[in.arg])
			continue
		case opJump:
			i = int(in.arg) - 1
			continue
		}
		top := len(stack) - 1
		b := stack[top]
		switch in.op {
		case opNot:
			stack[top] = truth(b == 0)
			continue
		case opNegate:
			stack[top] = -b
			continue
		case opAnd, opOr:
			if (b != 0) == (in.op == opOr) {
				i = int(in.arg) - 1
			} else {
				stack = stack[:top]
			}
			continue
		case opQuestion:
			if stack = stack[:top]; b == 0 {
				i = int(in.arg) - 1
			}
			continue
		}
		stack = stack[:top]
		a := &stack[top-1]
		if in.op == opChain {
			if calculate(operation(in.number), *a, b) != 0 {
				*a = b
			} else {
				*a, i = 0, int(in.arg)-1
			}
			continue
		}
		if in.op == opDivide && b == 0 {
			*a, divided = 0, true
			continue
		}
		*a = calculate(in.op, *a, b)
	}
	return stack[0], divided
}

func calculate(op operation, a, b float64) float64 {
	switch op {
	case opMultiply:
		return a * b
	case opDivide:
		return a / b
	case opAdd:
		return a + b
	case opSubtract:
		return a - b
	case opLess:
		return truth(a < b)
	case opGreater:
		return truth(a > b)
	case opLessEqual:
		return truth(a <= b)
	case opGreaterEqual:
		return truth(a >= b)
	case opEqual:
		return truth(a == b)
	case opUnequal:
		return truth(a != b)
	}
	return float64(whole(a) ^ whole(b))
}

// whole gives the number whose bits ^ goes by.
func whole(f float64) uint64 {
	if f < 0 {
		return uint64(int64(max(f, math.MinInt64)))
	}
	return uint64(min(f, 1<<62))
}
