package typed

import (
	"encoding/json"
	"reflect"
	"testing"

	"example.org/postroad/interop/types"
)

func TestEverySampleReadsBackFromItsJSON(t *testing.T) {
	for _, sample := range types.Samples() {
		t.Run(sample.Name, func(t *testing.T) {
			for _, style := range []Style{{}, {Repeat: 64}} {
				written := mustJSON(t, style.Encode(sample.Value))
				back, err := Decode(written)
				if err != nil {
					t.Fatalf("%s: %v", written, err)
				}
				again := mustJSON(t, style.Encode(back))
				if string(again) != string(written) {
					t.Fatalf("wrote %.200s, read back %.200s", written, again)
				}
				isError := Name(reflect.TypeOf(sample.Value)) == "error"
				if !isError && reflect.TypeOf(back) != reflect.TypeOf(sample.Value) {
					t.Fatalf("%T became %T", sample.Value, back)
				}
			}
		})
	}
}

func TestSampleNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, sample := range types.Samples() {
		if seen[sample.Name] {
			t.Errorf("%s is there twice", sample.Name)
		}
		seen[sample.Name] = true
	}
}

func TestWrongJSONIsAnError(t *testing.T) {
	for _, raw := range []string{
		`{"type":"int8","value":128}`,
		`{"type":"uint16","value":-1}`,
		`{"type":"[2]bool","value":[true]}`,
		`{"type":"[","value":[]}`,
		`{"type":"map[[]int8]bool","value":{"pairs":[]}}`,
		`{"type":"map[any]bool","value":{"pairs":[[{"type":"[]int8","value":[]},true]]}}`,
		`{"type":"#nobody/knows/It","value":0}`,
		`{"type":"binary","value":"0g"}`,
		`{"type":"string","value":{"repeat":"x","count":-1}}`,
		`{"type":"#example.org/postroad/interop/types/Point","value":{"fields":[["Q",1]]}}`,
	} {
		if value, err := Decode(json.RawMessage(raw)); err == nil {
			t.Errorf("%s became %#v", raw, value)
		}
	}
}

func TestLongContentIsWrittenAsDigest(t *testing.T) {
	got := mustJSON(t, Style{Digest: 4}.Encode([]byte("123456789")))
	if want := `{"type":"binary","value":{"crc32":"cbf43926","len":9}}`; string(got) != want {
		t.Errorf("got %s", got)
	}
}

func mustJSON(t *testing.T, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
