// What libkdn gives to a program outside of it. All else is hidden (CMakeLists.txt): the engine may
// have functions of the same names.
//
// A .cu file may include this header, so it stays within C++17.
#pragma once

#define KDN_API __attribute__((visibility("default")))
