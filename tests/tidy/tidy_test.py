"""Goal: tidy finds what it is there to find, and nothing in a tree that has none of it."""
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import tidy  # noqa: E402

HEADER = "// What it is for.\n#pragma once\n"


def body(lines):
    return "".join(f"  x += {i};\n" for i in range(lines))


class TidyTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve()
        self.write("base/CMakeLists.txt", "kdn_library(base SOURCES a.cc)\n")
        self.write("base/a.cc", '#include "base/a.h"\n\nint A() { return 1; }\n')
        self.write("base/a.h", HEADER + "int A();\n")

    def write(self, where, text):
        path = self.root / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def found(self):
        return list(tidy.findings(self.root))

    def expect(self, *parts):
        """Exactly one finding, which has all `parts`."""
        found = self.found()
        self.assertEqual(len(found), 1, found)
        for part in parts:
            self.assertIn(part, found[0])

    def test_a_clean_tree_has_no_findings(self):
        self.assertEqual(self.found(), [])

    # -- Layers ---------------------------------------------------------------------------------
    def test_an_include_against_the_table_is_found(self):
        self.write("base/a.h", HEADER + '#include "codec/paged_kv.h"\n')
        self.expect("base/a.h:3", "base/ may not include codec/paged_kv.h")

    def test_includes_are_judged_by_the_longest_rule(self):
        for where, header, allowed in [
            ("storage/policy/p.h", "storage/object_store.h", False),
            ("storage/s.h", "storage/policy/p.h", True),
            ("coordinator/c.h", "storage/policy/p.h", True),
            ("coordinator/c.h", "storage/object_store.h", False),
            ("node/n.h", "transport/status/server.h", True),
            ("node/n.h", "coordinator/c.h", False),
            ("client/core/c.h", "kdn/v1/admin.pb.h", False),
            ("client/admin/a.h", "kdn/v1/admin.pb.h", True),
            ("client/admin/a.h", "storage/object_store.h", False),
            ("client/embedded/e.h", "storage/object_store.h", True),
            ("client/core/c.h", "storage/object_store.h", False),
            ("client/core/c.h", "kdn/client.h", True),
            ("client/llama/l.h", "kdn/client.h", True),
            ("client/llama/l.h", "codec/paged_kv.h", True),
            ("client/llama/l.h", "codec/object_codec.h", False),
            ("client/llama/l.h", "client/core/c.h", False),
            ("tests/node/t.h", "client/core/c.h", True),
            ("codec/c.h", "proto/object/header.h", True),
            ("codec/c.h", "proto/wire/read.h", False),
        ]:
            with self.subTest(where=where, header=header):
                finding = tidy.include_finding(where, f'#include "{header}"')
                self.assertEqual(finding is None, allowed, finding)

    def test_third_party_headers_stay_in_their_folders(self):
        for where, header, allowed in [
            ("client/core/c.cc", "grpcpp/grpcpp.h", False),
            ("client/admin/c.cc", "grpcpp/grpcpp.h", True),
            ("storage/store/s.cc", "rocksdb/db.h", False),
            ("storage/rocks/s.cc", "rocksdb/db.h", True),
            ("node/n.cc", "civetweb.h", False),
            ("transport/status/s.cc", "CivetServer.h", True),
            ("client/llama/l.cc", "cblas.h", True),
            ("codec/c.cc", "cblas.h", False),
            ("base/a.cc", "gtest/gtest.h", False),
        ]:
            with self.subTest(where=where, header=header):
                finding = tidy.include_finding(where, f"#include <{header}>")
                self.assertEqual(finding is None, allowed, finding)

    # -- Sizes ----------------------------------------------------------------------------------
    def test_a_long_line_is_found(self):
        self.write("base/a.h", HEADER + "// " + "x" * 98 + "\n")
        self.expect("base/a.h:3", "over 100 columns")

    def test_a_long_file_is_found(self):
        self.write("base/a.h", HEADER + "\n" * 499)
        self.expect("base/a.h", "501 lines")

    def test_a_long_function_is_found_and_the_longest_allowed_is_not(self):
        for shape in ["int F() {\n%s}\n",
                      "namespace a {\nstruct S final : T {\n  int F() const {\n%s}\n};\n}\n",
                      "S::S(int a) : a_{a}, b_(a) {\n%s}\n",
                      "template <class T>\n  requires(A<T>)\nauto F(T t) -> decltype(t) {\n%s}\n",
                      "bool S::operator==(const S& s) const {\n%s}\n",
                      "TEST(Suite, Name) {\n%s}\n"]:
            with self.subTest(shape=shape):
                self.write("base/a.h", HEADER + shape % body(68))
                self.assertEqual(self.found(), [])
                self.write("base/a.h", HEADER + shape % body(69))
                self.expect("base/a.h:", "function of 71 lines")

    def test_what_is_no_function_may_be_long(self):
        for shape in ["namespace a {\n%s}\n", "struct S : T<decltype(f())> {\n%s};\n",
                      "constexpr int kTable[] = {\n%s};\n", "enum class E {\n%s};\n",
                      "INSTANTIATE(All, Suite, Values(Case{[](auto& c) { c.a = 1; }},\nCase{\n%s}));\n",
                      'extern "C" {\n%s}\n', "constexpr auto kText = R\"x(int f() {\n%s})x\";\n",
                      "// int f() {\n%s// }\n", "#define A(b) \\\n  int f() {\n%s"]:
            with self.subTest(shape=shape):
                self.write("base/a.h", HEADER + shape % body(100))
                self.assertEqual(self.found(), [])

    # -- Headers --------------------------------------------------------------------------------
    def test_a_header_without_pragma_once_is_found(self):
        self.write("base/a.h", "// What it is for.\nint A();\n")
        self.expect("base/a.h:1", "no #pragma once")

    def test_a_header_without_a_leading_comment_is_found(self):
        self.write("base/a.h", "\n#pragma once\nint A();\n")
        self.expect("base/a.h:1", "begins with what it is for")

    # -- Leftovers ------------------------------------------------------------------------------
    def test_banned_calls_are_found_in_code_only(self):
        for call in ["std::this_thread::sleep" "_for(x);", "usl" "eep(1);", "sle" "ep(1);"]:
            with self.subTest(call=call):
                self.write("base/a.cc", "// never " + call + "\nconst char* a = \"" + call + "\";\n")
                self.assertEqual(self.found(), [])
                self.write("base/a.cc", "void F() { " + call + " }\n")
                self.expect("base/a.cc:1", "advance the Clock")

    def test_words_that_only_contain_a_banned_call_are_no_findings(self):
        self.write("base/a.cc", "void F() { oversleep(1); clock.sleep(2); }\n")
        self.assertEqual(self.found(), [])

    def test_the_environment_is_read_in_main_only(self):
        text = "int main() { return std::get" "env(\"A\") != nullptr; }\n"
        self.write("base/CMakeLists.txt", "x(a.cc main.cc tool_main.cc)\n")
        self.write("base/main.cc", text)
        self.write("base/tool_main.cc", text)
        self.assertEqual(self.found(), [])
        self.write("base/a.cc", text)
        self.expect("base/a.cc:1", "main() only")

    def test_banned_words_are_found_in_every_text(self):
        for where in ["base/a.h", "docs/a.md", "scripts/demo", "base/CMakeLists.txt", "README.md"]:
            for word in ["TO" "DO", "FIX" "ME", "a sess" "ion", "Sess" "ions", "/wo" "rk/x"]:
                with self.subTest(where=where, word=word):
                    path = self.root / where
                    before = path.read_text() if path.is_file() else ""
                    mark = "//" if where.endswith(".h") else "#"
                    self.write(where, before + f"{mark} {word}\n")
                    self.expect(where + ":")
                    self.write(where, before)

    # -- The tree -------------------------------------------------------------------------------
    def test_a_source_that_is_not_there_is_found(self):
        self.write("base/CMakeLists.txt", "kdn_library(base SOURCES a.cc gone.cc)  # not_this.cc\n")
        self.expect("base/CMakeLists.txt:1", "no such source: gone.cc")

    def test_a_source_that_no_cmake_file_names_is_found(self):
        self.write("base/sub/dead.cc", "int B() { return 2; }\n")
        self.expect("base/sub/dead.cc: dead")
        self.write("base/CMakeLists.txt", "kdn_library(base SOURCES a.cc sub/dead.cc)\n")
        self.assertEqual(self.found(), [])

    def test_variables_in_source_names_stand_for_anything(self):
        self.write("base/one_fuzz.cc", "int B() { return 2; }\n")
        self.write("base/CMakeLists.txt", "x(${CMAKE_CURRENT_LIST_DIR}/a.cc ${name}_fuzz.cc)\n")
        self.assertEqual(self.found(), [])

    # -- Documentation --------------------------------------------------------------------------
    def test_config_keys_and_metrics_need_a_row(self):
        self.write("base/a.cc", 'void F() {\n  t.Integer(\n      "dram_mib", &a, 1, 2, "");\n'
                   '  t.Text("name", &b, "");\n  m.CounterOf("kdn_reads_total", "");\n'
                   '  m.GaugeOf("kdn_bytes", "");\n}\n')
        self.assertEqual(self.found(), [], "there is no docs/operations.md yet")
        self.write("docs/operations.md", "dram_mib and `name` in prose\n| `kdn_bytes{tier}` | x |\n")
        found = self.found()
        self.assertEqual(len(found), 2, found)
        self.assertIn("config keys: dram_mib, name", found[0])
        self.assertIn("metrics: kdn_reads_total", found[1])
        self.write("docs/operations.md", "| `node.dram_mib` | `name` |\n| `kdn_reads_total` |\n"
                   "| `kdn_bytes` |\n")
        self.assertEqual(self.found(), [])

    def test_a_row_of_a_metric_that_nobody_makes_is_found(self):
        self.write("base/a.cc", 'void F() { m.GaugeOf("kdn_bytes", ""); }\n')
        self.write("docs/operations.md", "| `kdn_bytes{tier}` | x |\n| `kdn_gone_total` | x |\n")
        self.expect("docs/operations.md", "nobody makes: kdn_gone_total")


if __name__ == "__main__":
    unittest.main()
