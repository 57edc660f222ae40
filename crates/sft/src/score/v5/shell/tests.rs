use super::*;

#[test]
fn every_pattern_compiles() {
    for pattern in [&RUNS_TESTS, &CAT, &ECHO, &REDIRECT, &TEE, &SED, &PATCH, &RM, &TEST_FILE] {
        assert!(pattern.is_some());
    }
}

#[test]
fn test_commands_are_words_anywhere_in_any_case() {
    for command in [
        "pytest",
        "python -m PyTest -q",
        "pip install pytest",
        "py.test x",
        "python -m unittest",
        "nosetests",
        "go test ./...",
        "go\n test",
        "cargo  test",
        "ctest -V",
        "./run --gtest_filter=A",
        "mvn test",
        "mvn verify",
        "mvn surefire:test",
        "gradle test",
        "./gradlew test",
        "jest",
        "npx mocha",
        "vitest run",
        "npm test",
        "npm run test:unit",
        "yarn test",
        "pnpm run test",
        "make test",
        "make check",
        "./foo_test",
        "./build/test_foo --x",
        "../x_tests",
    ] {
        assert!(runs_tests(command), "{command}");
    }
    for command in [
        "python test_foo.py",
        "mvn -q test",
        "gtest",
        "cargo nextest",
        "gotest",
        "go testing",
        "npm run build",
        "npm ci test",
        "make -j2 test",
        "pytest_x",
        "mypytests",
        "foo_test",
        "./foo bar_test",
        "ls",
        "",
    ] {
        assert!(!runs_tests(command), "{command}");
    }
}

#[test]
fn cat_writes_to_what_follows_the_last_reachable_redirection() {
    assert_eq!(written("cat > notes.txt <<E\nx\nE\n"), ["notes.txt"]);
    assert_eq!(written("cat <<'E' > a.c\nif (a > b) {\nE"), ["b)"]);
    assert_eq!(written("cat a >> f"), ["f"]);
    assert_eq!(written("cat a>f"), ["f"]);
    assert_eq!(written("cat a | sort > f"), Vec::<&str>::new());
    assert_eq!(written("cat > f | tee g"), ["f", "g"]);
    assert_eq!(written("cat a"), Vec::<&str>::new());
    // The first `cat` that can reach one.
    assert_eq!(written("cat a | cat > f"), ["f"]);
    assert_eq!(written("concat a > f"), Vec::<&str>::new());
}

#[test]
fn echo_and_printf_count_only_when_cat_gave_nothing() {
    assert_eq!(written("echo hi > f"), ["f"]);
    assert_eq!(written("printf 'x' > f"), ["f"]);
    assert_eq!(written("echo a > f; echo b > g"), ["f;"]);
    assert_eq!(written("echo 2>&1 > f"), ["&1"]);
    assert_eq!(written("echo x >> f"), [">"]);
    assert_eq!(written("ls > f; echo"), ["f;"]);
    assert_eq!(written("ls > f"), Vec::<&str>::new());
    assert_eq!(written("cat > f; echo > g"), ["g"]);
    assert_eq!(written("cat a | x; echo > g"), ["g"]);
    assert_eq!(written("echo hi"), Vec::<&str>::new());
}

#[test]
fn tee_takes_one_file_after_its_flags() {
    assert_eq!(written("x | tee -a build.log"), ["build.log"]);
    assert_eq!(written("x | tee a b; y | tee c"), ["a"]);
    assert_eq!(written("x | tee"), Vec::<&str>::new());
    assert_eq!(written("committee x"), Vec::<&str>::new());
}

#[test]
fn sed_in_place_takes_everything_after_the_expression() {
    assert_eq!(written("sed -i 's/a/b/' src/x.py"), ["src/x.py"]);
    assert_eq!(written("sed -i.bak s/a/b/ x y"), ["x", "y"]);
    assert_eq!(written("sed -i \"s/a/b/\" x && ls -l"), ["x", "&&", "ls"]);
    assert_eq!(written("sed -i 's/a b/c/' x"), ["b/c/'", "x"]);
    assert_eq!(written("sed -i '1d' \\\n  x\n"), ["\\", "x"]);
    // The expression after -e is passed over, and so is what cannot be one.
    assert_eq!(written("sed -i -e 's/a/b/' x"), Vec::<&str>::new());
    assert_eq!(written("sed -i -e 1d src/x y"), ["y"]);
    assert_eq!(written("sed -i 1d x y"), Vec::<&str>::new());
    for command in
        ["sed -ie s/a/b/ x", "sed -n -i s/a/b/ x", "sed -E -i s/a/b/ x", "sed s/a/b/ x", "used -i s/a/ x"]
    {
        assert_eq!(written(command), Vec::<&str>::new(), "{command}");
    }
}

#[test]
fn patch_takes_the_first_token_that_is_no_flag() {
    assert_eq!(written("patch -p1 < f.diff"), ["<"]);
    assert_eq!(written("patch src/a.py fix.diff"), ["src/a.py"]);
    assert_eq!(written("git apply x.patch y"), ["y"]);
    assert_eq!(written("patch"), Vec::<&str>::new());
    assert_eq!(written("apply_patch x"), Vec::<&str>::new());
}

#[test]
fn rm_removes_the_rest_of_its_line() {
    assert_eq!(removed("rm -rf a b/c && ls\nrm d"), ["a", "b/c", "&&", "ls"]);
    assert_eq!(removed("git rm x"), ["x"]);
    assert_eq!(removed("docker run --rm img"), ["img"]);
    assert_eq!(removed("farm x"), Vec::<&str>::new());
    assert_eq!(removed("rm"), Vec::<&str>::new());
}

#[test]
fn commands_go_by_their_first_word_without_path() {
    assert_eq!(command_name("/usr/bin/python3 x\n"), Some("python3"));
    assert_eq!(command_name("  ls"), Some("ls"));
    assert_eq!(command_name("C-c"), Some("C-c"));
    assert_eq!(command_name(" \n\t"), None);
    assert_eq!(command_name(""), None);
}

#[test]
fn paths_lose_one_prefix_and_are_normalised() {
    for (path, normal) in [
        ("/testbed/src/a.py", "src/a.py"),
        ("/workspace//repo/a", "/repo/a"),
        ("/repo/repo/a", "repo/a"),
        ("/home/swe-bench/./a/../b", "b"),
        ("testbed/a", "testbed/a"),
        ("/testbed", "/testbed"),
        ("/testbed/", "."),
        ("", "."),
        ("./a//b/", "a/b"),
        ("../../a", "../../a"),
        ("a/../../b", "../b"),
        ("/../a", "/a"),
        ("//a", "//a"),
        ("///a", "/a"),
        ("/", "/"),
    ] {
        assert_eq!(normal_path(path), normal, "{path}");
    }
}

#[test]
fn test_files_have_the_usual_names() {
    for path in [
        "test_a.py",
        "src/a_test.py",
        "x/tests/helpers.py",
        "tests/conftest.py",
        "conftest.py",
        "a_test.go",
        "a_test.cc",
        "x/test_a.cpp",
        "test_.c",
        "tests/a.rs",
        "test_a.rs",
        "FooTest.java",
        "FooTests.java",
        "FooIT.java",
        "Commit.java",
        "a.test.ts",
        "b/a.spec.jsx",
        "a.test.mjs",
        "TEST_A.PY",
        "/testbed/Tests/x.py",
    ] {
        assert!(is_test_file(path), "{path}");
    }
    for path in [
        "contest_a.py",
        "attest.py",
        "tests/a/b.py",
        "mytests/a.py",
        "a_test.rs",
        "test_a.go",
        "test_a.py.bak",
        "a_test.h",
        "Foo.java",
        "test.ts",
        "a.tests.ts",
        "tests/.py/x",
        "",
    ] {
        assert!(!is_test_file(path), "{path}");
    }
}
